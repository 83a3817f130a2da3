#include "frontend/profiler.h"

#include <kroton/error.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ostream>

#include "compiler/loop/count.h"
#include "compiler/machine_peak.h"
#include "runtime/pool.h"

namespace kroton {
namespace detail {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Times {
  std::int64_t calls = 0;
  double seconds = 0;
};

// The context of a call that is measured.
struct MeasuredContext : CallContext {
  Times* kernels;
  Clock::time_point start;  // of the kernel that runs: kernels do not nest
};

extern "C" void kroton_measure(kroton_context* context, std::int32_t kernel, std::int32_t begin) {
  auto* measured = static_cast<MeasuredContext*>(context);
  if (begin != 0) {
    measured->start = Clock::now();
  } else {
    Times& times = measured->kernels[kernel];
    times.seconds += seconds_since(measured->start);
    ++times.calls;
  }
}

}  // namespace

Profiler::Profiler(const Program& program) {
  collect(program.steps, 0);
  for (const Kernel& k : kernels_) {
    KernelProfile& row = sums_.kernels.emplace_back();
    row.name = k.kernel->name;
    row.source = k.kernel->source;
    row.depth = k.depth;
  }
}

// In the order in which the emitters number the kernels.
void Profiler::collect(const std::vector<Step>& steps, int depth) {
  for (const Step& step : steps) {
    if (const auto* kernel = as<loop::Kernel>(step)) kernels_.push_back({kernel, depth});
    for_each_inner(step, [&](const auto& inner) { collect(inner, depth + 1); });
  }
}

kroton_error Profiler::run(const FunctionCore::Parts& parts, const Executable::Call& call,
                           const CallContext& context) {
  std::vector<Times> times(kernels_.size());
  MeasuredContext measured{context, times.data(), {}};
  measured.profile = kroton_measure;
  const Clock::time_point start = Clock::now();
  const kroton_error error = parts.executable->run(call, measured);
  const double seconds = seconds_since(start);

  const std::lock_guard lock(mutex_);
  if (costs_.empty() || !std::ranges::equal(sizes_, call.sizes)) {
    sizes_.assign(call.sizes.begin(), call.sizes.end());
    costs_.clear();
    const std::function<std::int64_t(const DimAtom&)> value_of = [&](const DimAtom& atom) {
      for (std::size_t k = 0; k < parts.program.sizes.size(); ++k) {
        if (parts.program.sizes[k]->identity == atom.identity) return call.sizes[k];
      }
      throw InternalError("profile: the size " + atom.name + " is not among the program's");
    };
    for (const Kernel& k : kernels_) {
      const loop::Work work = loop::count_work(*k.kernel, value_of);
      costs_.emplace_back(work.flops, loop::count_bytes(*k.kernel, work, value_of));
    }
  }
  ++sums_.calls;
  sums_.seconds += seconds;
  for (std::size_t k = 0; k < kernels_.size(); ++k) {
    KernelProfile& row = sums_.kernels[k];
    const auto calls = static_cast<double>(times[k].calls);
    row.calls += times[k].calls;
    row.seconds += times[k].seconds;
    row.flops += calls * costs_[k].first;
    row.bytes += calls * costs_[k].second;
  }
  return error;
}

Profile Profiler::profile(const std::string& name) const {
  const MachinePeak peak = machine_peak(Pool::global().workers());
  const std::lock_guard lock(mutex_);
  Profile result = sums_;
  result.name = name;
  result.peak_flops = peak.flops;
  result.peak_bandwidth = peak.bandwidth;
  for (KernelProfile& row : result.kernels) {
    if (row.seconds <= 0) continue;
    row.flop_share = row.flops / row.seconds / peak.flops;
    row.memory_share = row.bytes / row.seconds / peak.bandwidth;
  }
  return result;
}

}  // namespace detail

std::string to_string(const Profile& profile) {
  char line[160];
  const auto add = [&](std::string& text, const char* format, auto... values) {
    std::snprintf(line, sizeof line, format, values...);
    text += line;
  };
  std::string text;
  const double per_call =
      profile.calls == 0 ? 0 : profile.seconds / static_cast<double>(profile.calls);
  add(text, "%lld calls, %.3f ms each  (peak %.1f GFLOP/s, %.1f GB/s)\n",
      static_cast<long long>(profile.calls), 1e3 * per_call, profile.peak_flops / 1e9,
      profile.peak_bandwidth / 1e9);
  text = profile.name + ": " + text;
  add(text, "%10s %6s %9s %10s %6s %9s %6s  %s\n", "us/call", "time", "calls", "GFLOP/s", "peak",
      "GB/s", "peak", "kernel");
  std::vector<const KernelProfile*> order;
  for (const KernelProfile& row : profile.kernels) order.push_back(&row);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return a->seconds != b->seconds ? a->seconds > b->seconds : a < b;  // ties in program order
  });
  double measured = 0;
  for (const KernelProfile* row : order) {
    measured += row->seconds;
    const double each = row->calls == 0 ? 0 : row->seconds / static_cast<double>(row->calls);
    const double rate = row->seconds > 0 ? 1 / row->seconds : 0;
    const double share = profile.seconds > 0 ? row->seconds / profile.seconds : 0;
    add(text, "%10.2f %5.1f%% %9lld %10.2f %5.1f%% %9.2f %5.1f%%  ", 1e6 * each, 100 * share,
        static_cast<long long>(row->calls), 1e-9 * row->flops * rate, 100 * row->flop_share,
        1e-9 * row->bytes * rate, 100 * row->memory_share);
    text += std::string(2 * static_cast<std::size_t>(row->depth), ' ') + row->name;
    if (!row->source.empty()) text += "  [" + row->source + "]";
    text += "\n";
  }
  const double rest = profile.seconds - measured;
  add(text, "%10.2f %5.1f%% %9lld %10s %6s %9s %6s  between kernels\n",
      profile.calls == 0 ? 0 : 1e6 * rest / static_cast<double>(profile.calls),
      profile.seconds > 0 ? 100 * rest / profile.seconds : 0, static_cast<long long>(profile.calls),
      "", "", "", "");
  return text;
}

std::ostream& operator<<(std::ostream& stream, const Profile& profile) {
  return stream << to_string(profile);
}

}  // namespace kroton
