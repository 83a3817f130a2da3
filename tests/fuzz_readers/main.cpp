// The readers' fuzzer: files with random damage are read, or are an error that says why not.
//   kroton_fuzz_readers [--count N] [--seed S] [--reader NAME] [--keep FILE] [--list]
#include <kroton/error.h>
#include <sys/resource.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

#include "tests/fuzz_readers/readers.h"

namespace {

using namespace fuzz_readers;  // NOLINT: the fuzzer

constexpr const char* usage =
    "usage: kroton_fuzz_readers [--count N] [--seed S] [--reader NAME] [--keep FILE] [--list]\n"
    "  --count N      files for each reader, 10000 if not given\n"
    "  --seed S       the seed of the first one, 1 if not given\n"
    "  --reader NAME  this one only\n"
    "  --keep FILE    writes the file of the last seed there: --seed S --count 1 --keep FILE\n"
    "  --list         prints the readers' names\n";

struct Options {
  std::uint64_t count = 10'000;
  std::uint64_t seed = 1;
  std::string reader, keep;
  bool list = false;
};

bool parse(int argc, char** argv, Options& options) {
  for (int k = 1; k < argc; ++k) {
    const std::string name = argv[k];
    if (name == "--list") {
      options.list = true;
    } else if (k + 1 >= argc) {
      return false;
    } else if (name == "--count") {
      options.count = std::strtoull(argv[++k], nullptr, 10);
    } else if (name == "--seed") {
      options.seed = std::strtoull(argv[++k], nullptr, 10);
    } else if (name == "--reader") {
      options.reader = argv[++k];
    } else if (name == "--keep") {
      options.keep = argv[++k];
    } else {
      return false;
    }
  }
  return true;
}

// What is being read, for the message of a process that ends.
char running[128];
constexpr unsigned most_seconds = 20;  // for one file

extern "C" void report_signal(int number) {
  const char* const what = number == SIGALRM ? "too long: " : "crash: ";
  // What fails here has nobody to tell.
  [[maybe_unused]] ssize_t written = ::write(STDOUT_FILENO, what, std::strlen(what));
  written = ::write(STDOUT_FILENO, running, std::strlen(running));
  written = ::write(STDOUT_FILENO, "\n", 1);
  std::signal(number, SIG_DFL);
  std::raise(number == SIGALRM ? SIGKILL : number);
}

// Files are small: what asks for a gigabyte asks too much. Sanitizers take more for themselves.
void limit_memory() {
#ifndef __SANITIZE_ADDRESS__
  std::ifstream statm("/proc/self/statm");
  rlim_t pages = 0;
  statm >> pages;
  const rlim_t most = pages * static_cast<rlim_t>(::sysconf(_SC_PAGESIZE)) + (rlim_t{1} << 30);
  const rlimit limit{most, most};
  ::setrlimit(RLIMIT_AS, &limit);
#endif
}

Bytes input_of(const Reader& reader, Random& random) {
  Bytes bytes = reader.inputs[random() % reader.inputs.size()];
  // Now and then it stays as it is: those must be read.
  for (std::size_t k = 0, times = random() % 4; k < times; ++k) {
    bytes = random() % 2 == 0 ? damaged(std::move(bytes), random)
                              : with_a_word(std::move(bytes), reader.words, random);
  }
  return bytes;
}

struct Outcome {
  std::uint64_t read = 0, refused = 0, failures = 0;
};

// What is wrong with one file, if anything is.
std::string failure_of(const Reader& reader, const std::filesystem::path& path, Random& random,
                       Outcome& outcome) {
  try {
    reader.read(path, random);
    ++outcome.read;
    return "";
  } catch (const kroton::Error& error) {
    ++outcome.refused;
    const std::string message = error.what();
    const bool is_answer = error.kind() == kroton::ErrorKind::io ||
                           (reader.takes_options && error.kind() == kroton::ErrorKind::value);
    if (!is_answer) return "an error of another kind: " + message;
    const bool names_it = message.find(path.parent_path().string()) != std::string::npos;
    if (!names_it && error.kind() == kroton::ErrorKind::io) return "names no file: " + message;
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

Outcome run(const Reader& reader, const Options& options, const Files& directory) {
  Outcome outcome;
  for (std::uint64_t seed = options.seed; seed < options.seed + options.count; ++seed) {
    std::snprintf(running, sizeof running, "--reader %s --count 1 --seed %llu", reader.name.c_str(),
                  static_cast<unsigned long long>(seed));
    Random random(seed);
    const Bytes bytes = input_of(reader, random);
    const auto path = directory.write(reader.file, bytes);
    if (!options.keep.empty())
      std::filesystem::copy_file(path, options.keep,
                                 std::filesystem::copy_options::overwrite_existing);
    ::alarm(most_seconds);
    const std::string failure = failure_of(reader, path, random, outcome);
    ::alarm(0);
    if (failure.empty()) continue;
    ++outcome.failures;
    std::printf("FAILURE %s: %s\n", running, failure.c_str());
  }
  std::filesystem::remove(directory.path() / reader.file);
  // Of so many some are sound, and some are not.
  constexpr std::uint64_t many = 1000;
  if (options.count >= many && (outcome.read == 0 || outcome.refused == 0)) {
    ++outcome.failures;
    std::printf("FAILURE --reader %s: no file of both kinds\n", reader.name.c_str());
  }
  std::printf("%s: %llu read, %llu refused\n", reader.name.c_str(),
              static_cast<unsigned long long>(outcome.read),
              static_cast<unsigned long long>(outcome.refused));
  return outcome;
}

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!parse(argc, argv, options)) {
    std::fputs(usage, stderr);
    return 2;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  // Files in memory, where there is such a place.
  if (::access("/dev/shm", W_OK) == 0) ::setenv("TMPDIR", "/dev/shm", 0);
  const Files directory;
  const std::vector<Reader> all = readers(directory);
  for (const int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGALRM}) {
    std::signal(number, report_signal);
  }
  limit_memory();
  const auto start = std::chrono::steady_clock::now();
  std::uint64_t files = 0, failures = 0;
  bool found = false;
  for (const Reader& reader : all) {
    if (options.list) std::printf("%s\n", reader.name.c_str());
    if (!options.reader.empty() && options.reader != reader.name) continue;
    found = true;
    if (options.list) continue;
    failures += run(reader, options, directory).failures;
    files += options.count;
  }
  if (!found) {
    std::fprintf(stderr, "kroton_fuzz_readers: no reader %s; --list shows all\n",
                 options.reader.c_str());
    return 2;
  }
  if (options.list) return 0;
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  std::printf("fuzz readers: %llu files, %llu failures, seed %llu, %.1f s\n",
              static_cast<unsigned long long>(files), static_cast<unsigned long long>(failures),
              static_cast<unsigned long long>(options.seed), seconds.count());
  return failures == 0 ? 0 : 1;
}
