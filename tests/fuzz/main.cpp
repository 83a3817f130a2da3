// The fuzzer: random programs, checked in every way there is.
//   kroton_fuzz [--graphs N] [--seed S] [--seconds T] [--limit T] [--out DIR] [--print SEED]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>

#include "tests/fuzz/generator.h"
#include "tests/fuzz/shrink.h"

namespace {

using namespace fuzz;  // NOLINT: the fuzzer

struct Options {
  std::uint64_t graphs = 1000;
  std::uint64_t seed = 1;
  double seconds = 0;     // 0: as long as it takes
  double limit = 60;      // for one program
  double shrinking = 60;  // for one finding
  bool shrink = true;
  std::string out;     // where findings are written
  bool print = false;  // only print the program of the seed
};

constexpr const char* usage =
    "usage: kroton_fuzz [--graphs N] [--seed S] [--seconds T] [--limit T] [--out DIR]\n"
    "                   [--no-shrink] [--print]\n"
    "  --graphs N    programs, 1000 if not given\n"
    "  --seed S      the seed of the first one, 1 if not given\n"
    "  --seconds T   ends after that time, whatever is left\n"
    "  --limit T     seconds that one program may take, 60 if not given\n"
    "  --out DIR     writes every finding there, shrunk, as a C++ program\n"
    "  --no-shrink   prints findings as they are\n"
    "  --print       prints the program of the seed and checks nothing\n";

bool parse(int argc, char** argv, Options& options) {
  for (int k = 1; k < argc; ++k) {
    const std::string name = argv[k];
    if (name == "--print") {
      options.print = true;
    } else if (name == "--no-shrink") {
      options.shrink = false;
    } else if (k + 1 >= argc) {
      return false;
    } else if (name == "--graphs") {
      options.graphs = std::strtoull(argv[++k], nullptr, 10);
    } else if (name == "--seed") {
      options.seed = std::strtoull(argv[++k], nullptr, 10);
    } else if (name == "--seconds") {
      options.seconds = std::strtod(argv[++k], nullptr);
    } else if (name == "--limit") {
      options.limit = std::strtod(argv[++k], nullptr);
    } else if (name == "--out") {
      options.out = argv[++k];
    } else {
      return false;
    }
  }
  return true;
}

// Making machine code takes most of the time: as users get it, and code that watches itself, for
// one program in four each. Linking an object and compiling for the emulator take longer still.
Ways ways_of(std::uint64_t seed) {
  constexpr std::uint64_t each_full = 4, each_aot = 40, each_cuda = 200;
  return {.quick = seed % each_full != 0,
          .checked = seed % each_full == 2,
          .aot = seed % each_aot == 0,
          .cuda = seed % each_cuda == 1};
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines = {""};
  for (const char c : text) {
    if (c == '\n') {
      lines.emplace_back();
    } else {
      lines.back() += c;
    }
  }
  return lines;
}

void report(const Finding& finding, const Options& options) {
  const Ways ways = ways_of(finding.seed);
  std::vector<std::string> comment = {"seed " + std::to_string(finding.seed) + ": " + finding.kind};
  std::string failure = finding.failure;
  std::string text;
  const bool can_build = survives([&] { generate(finding.seed); }, options.limit);
  if (finding.kind != "building" && can_build) {
    Program program = generate(finding.seed);
    if (options.shrink) {
      program = shrunk(program, finding.kind, ways, options.limit, options.shrinking);
      const Verdict again = check_apart(program, ways, options.limit);
      failure = again.kind == finding.kind
                    ? again.failure
                    : finding.failure + "\nnot by itself: after the programs before it only";
    }
    for (std::string& line : lines_of(failure)) comment.push_back(std::move(line));
    text = cpp_text(program, comment);
  } else {
    text = "// " + comment[0] + "\n// " + failure + "\n";
  }
  std::printf("FAILURE\n%s\n", text.c_str());
  std::fflush(stdout);
  if (options.out.empty()) return;
  std::filesystem::create_directories(options.out);
  std::ofstream(options.out + "/" + finding.kind + "_" + std::to_string(finding.seed) + ".cpp")
      << text;
}

}  // namespace

int main(int argc, char** argv) {
  ::setenv("KROTON_CACHE", "off", 1);  // programs are compiled, not found
  Options options;
  if (!parse(argc, argv, options)) {
    std::fputs(usage, stderr);
    return 2;
  }
  if (options.print) {
    std::fputs(cpp_text(generate(options.seed), {}).c_str(), stdout);
    return 0;
  }
  const auto start = std::chrono::steady_clock::now();
  const auto elapsed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  std::map<std::string, int> failures;
  int count = 0;
  const Totals totals = check_seeds(
      options.seed, options.graphs, ways_of, options.limit,
      [&](const Finding& finding) {
        ++count;
        ++failures[finding.kind];
        report(finding, options);
      },
      [&] { return options.seconds <= 0 || elapsed() < options.seconds; });
  for (const auto& [kind, number] : failures) std::printf("%s: %d\n", kind.c_str(), number);
  std::printf(
      "%.0f s; %ld elements compared, %ld hang on rounding; %ld gradients compared with "
      "differences; %ld graphs end in an error as they must\n",
      elapsed(), totals.compared, totals.left_out, totals.gradients, totals.errors);
  std::printf("fuzz: %ld graphs, %d failures, seed %llu\n", totals.graphs, count,
              static_cast<unsigned long long>(options.seed));
  return count == 0 ? 0 : 1;
}
