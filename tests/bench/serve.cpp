#include <sys/resource.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <sstream>

#include "bench.h"

namespace bench {
namespace {

// Seconds that have passed; where a machine is shared, those of the processor by all threads.
double now() {
  static const bool of_processor = std::getenv("BENCH_PROCESSOR_TIME") != nullptr;
  timespec time{};
  clock_gettime(of_processor ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

double seconds_of(const std::function<void()>& run, long count) {
  const double start = now();
  for (long i = 0; i < count; ++i) run();
  return now() - start;
}

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    result += c == '\n' || c == '\t' ? ' ' : c;
  }
  return result + '"';
}

std::string number(double value) {
  char text[40];
  std::snprintf(text, sizeof text, "%.17g", value);
  return std::isfinite(value) ? text : "null";
}

std::string answer(const Maker& maker, std::optional<Case>& current, const std::string& line) {
  std::istringstream words(line);
  std::string command, argument;
  words >> command >> argument;
  if (command == "prepare") {
    current.reset();
    current = maker(split(argument, '/'));
    return "null";
  }
  if (command == "forget") {
    current.reset();
    return "null";
  }
  if (command == "peak") {
    rusage usage{};
    getrusage(RUSAGE_SELF, &usage);
    return number(static_cast<double>(usage.ru_maxrss) * 1024);
  }
  if (!current) throw std::runtime_error("no case is prepared");
  if (command == "values") {
    std::string list;
    for (const double value : current->values()) list += (list.empty() ? "" : ", ") + number(value);
    return "[" + list + "]";
  }
  if (command == "time")
    return number(time_of(current->run, std::strtod(argument.c_str(), nullptr)));
  throw std::runtime_error("unknown command " + command);
}

}  // namespace

double time_of(const std::function<void()>& run, double seconds) {
  long count = 1;
  double taken = seconds_of(run, count);
  // The first call may be slower than the rest.
  const double batch = seconds / 5;
  while (taken < batch / 2) {
    const double more = batch / std::max(taken, 1e-9);
    count =
        std::max(count + 1, static_cast<long>(static_cast<double>(count) * std::min(more, 10.)));
    taken = seconds_of(run, count);
  }
  double best = taken / static_cast<double>(count);
  double total = taken;
  for (int i = 1; i < 5 && total < seconds; ++i) {
    taken = seconds_of(run, count);
    total += taken;
    best = std::min(best, taken / static_cast<double>(count));
  }
  return best;
}

Parts split(const std::string& text, char separator) {
  Parts parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

int thread_count() {
  const char* text = std::getenv("KROTON_THREADS");
  return text == nullptr ? 1 : std::max(1, std::atoi(text));
}

int serve(const Maker& maker) {
  std::optional<Case> current;
  for (std::string line; std::getline(std::cin, line);) {
    std::string reply;
    try {
      reply = answer(maker, current, line);
    } catch (const std::exception& error) {
      reply = "{\"error\": " + quoted(error.what()) + "}";
    }
    std::cout << reply << std::endl;
  }
  return 0;
}

}  // namespace bench
