#include "tests/fuzz/isolate.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstring>
#include <iostream>
#include <ostream>
#include <sstream>

#include "tests/fuzz/generator.h"

namespace fuzz {
namespace {

// One line of text as a word: what a child tells is one line a program.
std::string packed(const std::string& text) {
  std::string result;
  for (const char c : text) result += c == '\n' ? '\v' : c;
  return result;
}
std::string unpacked(const std::string& text) {
  std::string result;
  for (const char c : text) result += c == '\v' ? '\n' : c;
  return result;
}

std::string line_of(std::uint64_t seed, const Verdict& v) {
  std::ostringstream line;
  line << seed << ' ' << v.ends_in_error << ' ' << v.gradients << ' ' << v.tally.compared << ' '
       << v.tally.left_out << ' ' << packed(v.kind) << '\t' << packed(v.failure) << '\n';
  return line.str();
}

std::uint64_t parse(const std::string& text, Verdict& v) {
  std::istringstream line(text);
  std::uint64_t seed = 0;
  line >> seed >> v.ends_in_error >> v.gradients >> v.tally.compared >> v.tally.left_out;
  line.get();
  std::getline(line, v.kind, '\t');
  std::getline(line, v.failure);
  v.kind = unpacked(v.kind);
  v.failure = unpacked(v.failure);
  return seed;
}

Verdict checked(const Program& program, const Ways& ways) {
  try {
    return check(program, ways);
  } catch (const std::exception& error) {
    // A mistake of the program's own is another kind: shrinking must not end with one.
    Verdict verdict;
    const bool own = dynamic_cast<const kt::Error*>(&error) != nullptr &&
                     dynamic_cast<const kt::InternalError*>(&error) == nullptr;
    verdict.kind = own ? "mistake" : "internal";
    verdict.failure = error.what();
    return verdict;
  }
}

// A child that runs `body` with somewhere to write lines to.
class Child {
 public:
  explicit Child(const std::function<void(int out)>& body) {
    int ends[2];
    if (pipe(ends) != 0) throw kt::IoError("fuzz: pipe");
    pid_ = fork();
    if (pid_ < 0) throw kt::IoError("fuzz: fork");
    if (pid_ == 0) {
      close(ends[0]);
      // A crash ends it, whatever the parent does about one.
      for (const int signal_number : {SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL}) {
        std::signal(signal_number, SIG_DFL);
      }
      // What kt::print and the compiler show, nobody reads.
      static std::ostream nowhere(nullptr);
      kt::set_print_stream(nowhere);
      body(ends[1]);
      _exit(0);
    }
    close(ends[1]);
    in_ = ends[0];
  }
  ~Child() {
    if (pid_ > 0) end();
    close(in_);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  enum class Event { line, end, late };
  // The next line, or that there is none any more, or none in that time.
  Event next(std::string& line, double seconds) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    for (;;) {
      const std::size_t stop = buffer_.find('\n');
      if (stop != std::string::npos) {
        line = buffer_.substr(0, stop);
        buffer_.erase(0, stop + 1);
        return Event::line;
      }
      const std::chrono::duration<double> left = deadline - std::chrono::steady_clock::now();
      if (left.count() <= 0) return Event::late;
      pollfd waiting{in_, POLLIN, 0};
      if (poll(&waiting, 1, static_cast<int>(left.count() * 1000) + 1) <= 0) continue;
      char part[4096];
      const ssize_t got = read(in_, part, sizeof part);
      if (got <= 0) return Event::end;
      buffer_.append(part, static_cast<std::size_t>(got));
    }
  }
  // Ends it; how it ended, "" if it did so itself.
  std::string end() {
    kill(pid_, SIGKILL);
    return wait();
  }
  std::string wait() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    if (WIFSIGNALED(status)) return std::string("signal ") + strsignal(WTERMSIG(status));
    return WEXITSTATUS(status) == 0 ? "" : "exit status " + std::to_string(WEXITSTATUS(status));
  }

 private:
  pid_t pid_ = -1;
  int in_ = -1;
  std::string buffer_;
};

void tell(int out, const std::string& text) {
  if (write(out, text.data(), text.size()) < 0) _exit(3);
}

}  // namespace

Verdict check_apart(const Program& program, const Ways& ways, double seconds) {
  Child child([&](int out) { tell(out, line_of(0, checked(program, ways))); });
  Verdict verdict;
  std::string line;
  switch (child.next(line, seconds)) {
    case Child::Event::line:
      parse(line, verdict);
      child.end();
      break;
    case Child::Event::end:
      verdict.kind = "crash";
      verdict.failure = child.wait();
      break;
    case Child::Event::late:
      child.end();
      verdict.kind = "hang";
      verdict.failure = "no result after " + std::to_string(seconds) + " s";
  }
  return verdict;
}

bool survives(const std::function<void()>& body, double seconds) {
  Child child([&](int out) {
    try {
      body();
    } catch (const std::exception&) {  // an end as well
    }
    tell(out, "\n");
  });
  std::string line;
  return child.next(line, seconds) == Child::Event::line;
}

Totals check_seeds(std::uint64_t first, std::uint64_t count, const WaysOf& ways, double seconds,
                   const std::function<void(const Finding&)>& found,
                   const std::function<bool()>& go_on) {
  Totals totals;
  std::uint64_t seed = first;
  const std::uint64_t last = first + count;
  constexpr std::uint64_t programs_per_child = 500;  // loaded code stays in a process
  while (seed < last && go_on()) {
    const std::uint64_t start = seed, stop = std::min(last, seed + programs_per_child);
    Child child([&](int out) {
      for (std::uint64_t s = start; s < stop; ++s) {
        Verdict verdict;
        try {
          verdict = checked(generate(s), ways(s));
        } catch (const std::exception& error) {
          verdict.kind = "building";
          verdict.failure = error.what();
        }
        tell(out, line_of(s, verdict));
      }
    });
    while (seed < stop) {
      std::string line;
      const Child::Event event = child.next(line, seconds);
      ++totals.graphs;
      if (event != Child::Event::line) {
        const bool late = event == Child::Event::late;
        const std::string how = late ? child.end() : child.wait();
        found({seed++, late ? "hang" : "crash", how});
        break;
      }
      Verdict verdict;
      seed = parse(line, verdict) + 1;
      totals.errors += verdict.ends_in_error;
      totals.gradients += verdict.gradients;
      totals.compared += verdict.tally.compared;
      totals.left_out += verdict.tally.left_out;
      if (!verdict.kind.empty()) found({seed - 1, verdict.kind, verdict.failure});
      if (!go_on()) break;
    }
  }
  return totals;
}

}  // namespace fuzz
