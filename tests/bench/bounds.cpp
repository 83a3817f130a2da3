// How far each operation is from what memory and arithmetic allow, for operands of many shapes:
// what stands out has no schedule of its own.
#include "bounds.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string_view>

#include "floor.h"
#include "ours.h"

namespace kt = kroton;

namespace bench {
namespace {

struct Settings {
  bool quick = false;
  double seconds = 0.01;
  std::size_t worst = 10;
  std::vector<std::string> names;  // beginnings of operations; all if there is none
};

// What the machine does, a second, and the least time of a call.
struct Machine {
  std::map<double, double> bandwidth;  // by the bytes that are streamed
  double f32 = 0, f64 = 0, additions = 0, call = 0;

  double bandwidth_of(double bytes) const {
    const auto found = bandwidth.lower_bound(bytes);
    return found == bandwidth.end() ? bandwidth.rbegin()->second : found->second;
  }
};

double rate_of(const Parts& floor) {
  const Case made = floor_case(floor);
  double best = time_of(made.run, 0.1);
  // A rate that something else has lowered would make everything look good.
  for (int k = 0; k < 2; ++k) best = std::min(best, time_of(made.run, 0.1));
  return made.values()[0] / best;
}

Machine measured_machine() {
  Machine machine;
  machine.f32 = rate_of({"floor", "f32"});
  machine.f64 = rate_of({"floor", "f64"});
  machine.additions = rate_of({"floor", "add"});
  for (const char* bytes :
       {"100000", "800000", "3000000", "8000000", "20000000", "50000000", "120000000"}) {
    machine.bandwidth[std::atof(bytes)] = rate_of({"floor", "triad", bytes});
  }
  machine.call = time_of(call_case({"call", "add"}).run, 0.05);
  return machine;
}

struct Result {
  std::string operation, layout;
  double seconds = 0, bound = 0, compile_seconds = 0;
  bool by_memory = false;
  double ratio() const { return seconds / bound; }
};

std::string label(const Result& result) { return result.operation + " " + result.layout; }

bool may_meet(const Operation& operation, const Layout& layout) {
  const std::size_t rank = static_cast<std::size_t>(layout.shape.rank());
  return operation.least_rank <= rank && rank <= operation.most_rank;
}

// None where the layout has nothing to do with the operation.
std::optional<Result> measure(const Operation& operation, const Layout& layout, kt::DType dtype,
                              const Machine& machine, double seconds) {
  Operands in(layout, dtype);
  const kt::Tensor result = operation.apply(in);
  if (layout.second != Second::same && !in.has_second()) return std::nullopt;
  const auto f = kt::function(in.inputs(), result, {.on_unused_input = kt::UnusedInput::ignore});
  const std::vector<kt::Argument> arguments(in.arrays().begin(), in.arrays().end());
  const kt::Array first = f.call(arguments);
  const double elements =
      static_cast<double>(std::max(first.shape().element_count(), layout.shape.element_count()));
  const double written = static_cast<double>(first.shape().element_count()) *
                         static_cast<double>(kt::size_of(first.dtype()));
  const double bytes = in.bytes() + written;
  const double by_memory = bytes / machine.bandwidth_of(bytes);
  const double by_arithmetic =
      std::max(in.flops(operation.flops, elements) / (dtype == kt::f64 ? machine.f64 : machine.f32),
               in.chain() / machine.additions);
  Result found;
  found.operation = operation.name;
  found.layout = layout.name;
  found.bound = std::max({by_memory, by_arithmetic, machine.call});
  found.by_memory = by_memory >= by_arithmetic;
  found.compile_seconds = f.compile_seconds();
  const auto run = [&] { static_cast<void>(f.call(arguments)); };
  found.seconds = time_of(run, seconds);
  // What looks bad is looked at again: something else may have run meanwhile.
  if (found.ratio() > 1.5) found.seconds = std::min(found.seconds, time_of(run, 2 * seconds));
  return found;
}

void print_row(const std::string& name, const std::vector<std::optional<Result>>& row) {
  std::printf("%-24s", name.c_str());
  double compiling = 0;
  for (const auto& result : row) {
    if (result) {
      std::printf(result->ratio() < 9.95 ? " %5.1f" : " %5.0f", result->ratio());
      compiling = std::max(compiling, result->compile_seconds);
    } else {
      std::printf("     -");
    }
  }
  std::printf(" %6.0f\n", compiling * 1e3);
  std::fflush(stdout);
}

// Three of each layout: one that is bad for all operations hides what else is.
void print_worst_of_layouts(const std::vector<Result>& sorted, const std::vector<Layout>& all) {
  std::printf("farthest of each layout:\n");
  for (const Layout& layout : all) {
    int shown = 0;
    for (const Result& r : sorted) {
      if (r.layout != layout.name || shown == 3) continue;
      if (shown == 0) std::printf("  %-16s", layout.name.c_str());
      std::printf("%s %s %.1f", shown++ == 0 ? "" : ",", r.operation.c_str(), r.ratio());
    }
    if (shown > 0) std::printf("\n");
  }
}

void print_worst(std::vector<Result> results, const std::vector<Layout>& all, std::size_t count) {
  count = std::min(count, results.size());
  std::sort(results.begin(), results.end(),
            [](const Result& a, const Result& b) { return a.ratio() > b.ratio(); });
  std::printf("farthest from their bound:\n");
  for (std::size_t k = 0; k < count; ++k) {
    const Result& r = results[k];
    std::printf("  %6.1f  %-42s %9.1f us, %s allows %.1f\n", r.ratio(), label(r).c_str(),
                r.seconds * 1e6, r.by_memory ? "memory" : "arithmetic", r.bound * 1e6);
  }
  print_worst_of_layouts(results, all);
  std::sort(results.begin(), results.end(),
            [](const Result& a, const Result& b) { return a.compile_seconds > b.compile_seconds; });
  std::printf("longest to compile:\n");
  double compiling = 0;
  for (const Result& r : results) compiling += r.compile_seconds;
  for (std::size_t k = 0; k < std::min<std::size_t>(count, 10); ++k) {
    std::printf("  %6.0f ms %s\n", results[k].compile_seconds * 1e3, label(results[k]).c_str());
  }
  std::printf("%zu functions, %.0f ms to compile one\n", results.size(),
              compiling * 1e3 / static_cast<double>(std::max<std::size_t>(results.size(), 1)));
}

Settings settings_of(int argc, char** argv) {
  Settings settings;
  std::string threads = "1";
  for (int k = 1; k < argc; ++k) {
    const std::string_view argument = argv[k];
    const auto value = [&] {
      if (k + 1 == argc) throw std::runtime_error(std::string(argument) + ": a number is missing");
      return std::string(argv[++k]);
    };
    if (argument == "--quick") {
      settings.quick = true;
    } else if (argument == "--worst") {
      settings.worst = std::stoul(value());
    } else if (argument == "--seconds") {
      settings.seconds = std::stod(value());
    } else if (argument == "--threads") {
      threads = value();
    } else if (argument.starts_with("--")) {
      throw std::runtime_error("unknown option " + std::string(argument));
    } else {
      settings.names.emplace_back(argument);
    }
  }
  if (settings.quick) settings.seconds /= 2;
  // Before anything that reads it.
  setenv("KROTON_THREADS", threads.c_str(), 1);
  return settings;
}

bool is_wanted(const Settings& settings, const std::string& name) {
  return settings.names.empty() ||
         std::any_of(settings.names.begin(), settings.names.end(),
                     [&](const std::string& beginning) { return name.starts_with(beginning); });
}

void run(const Settings& settings) {
  const Machine machine = measured_machine();
  std::printf("multiply-adds: %.0f GFLOP/s in f32, %.0f in f64; a call: %.0f ns; GB/s:",
              machine.f32 / 1e9, machine.f64 / 1e9, machine.call * 1e9);
  for (const auto& [bytes, rate] : machine.bandwidth) {
    std::printf(" %.0f (%.2g MB)", rate / 1e9, bytes / 1e6);
  }
  const std::vector<Layout> all = layouts(settings.quick);
  std::printf("\ntime over the bound, for operands that are:\n");
  for (std::size_t k = 0; k < all.size(); ++k) {
    std::printf("  %2zu %s %s\n", k + 1, all[k].name.c_str(), kt::to_string(all[k].shape).c_str());
  }
  std::printf("%-24s", "");
  for (std::size_t k = 0; k < all.size(); ++k) std::printf(" %5zu", k + 1);
  std::printf("     ms to compile\n");

  std::vector<Result> results;
  for (const Operation& operation : operations()) {
    for (const kt::DType dtype : {kt::f32, kt::f64, kt::i32}) {
      const bool is_other = dtype != kt::f32;
      Operation named = operation;
      if (is_other) named.name += dtype == kt::f64 ? "/f64" : "/i32";
      if ((is_other && !operation.in_other_dtypes) || !is_wanted(settings, named.name)) continue;
      if (dtype == kt::i32 && operation.name == "exp") continue;
      std::vector<std::optional<Result>> row;
      for (const Layout& layout : all) {
        const bool skipped = is_other && layout.has_f32_only;
        row.push_back(skipped || !may_meet(named, layout)
                          ? std::nullopt
                          : measure(named, layout, dtype, machine, settings.seconds));
        if (row.back()) results.push_back(*row.back());
      }
      print_row(named.name, row);
    }
  }
  print_worst(std::move(results), all, settings.worst);
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  try {
    bench::run(bench::settings_of(argc, argv));
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "bounds: %s\n", error.what());
    return 1;
  }
}
