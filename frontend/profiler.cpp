#include "frontend/profiler.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <ostream>

namespace kroton {
namespace detail {
namespace {

using Clock = std::chrono::steady_clock;

void add(KernelProfile& row, const MeasuredTime& time) {
  row.calls += time.runs;
  row.seconds += time.seconds;
}

void add(CopyProfile& row, const MeasuredTime& time) {
  row.count += time.runs;
  row.seconds += time.seconds;
  row.bytes += time.bytes;
}

}  // namespace

Profiler::Profiler(const Program& program) { collect(program.steps, 0); }

// In the order in which the emitters number the kernels.
void Profiler::collect(const std::vector<Step>& steps, int depth) {
  for (const Step& step : steps) {
    if (const auto* kernel = as<loop::Kernel>(step)) {
      KernelProfile& row = sums_.kernels.emplace_back();
      row.name = kernel->name;
      row.source = kernel->source;
      row.depth = depth;
    }
    for_each_inner(step, [&](const auto& inner) { collect(inner, depth + 1); });
  }
}

kroton_error Profiler::run(Executable& executable, Executable::Call call, CallContext& context) {
  CallTimes times;
  times.kernels.resize(sums_.kernels.size());
  call.times = &times;
  const Clock::time_point start = Clock::now();
  const kroton_error error = executable.run(call, context);
  const double seconds = std::chrono::duration<double>(Clock::now() - start).count();

  const std::lock_guard lock(mutex_);
  if (costs_.empty() || !std::ranges::equal(sizes_, call.sizes)) {
    sizes_.assign(call.sizes.begin(), call.sizes.end());
    costs_ = executable.costs(call.sizes);
  }
  ++sums_.calls;
  sums_.seconds += seconds;
  for (std::size_t k = 0; k < times.kernels.size(); ++k) {
    KernelProfile& row = sums_.kernels[k];
    add(row, times.kernels[k]);
    const auto runs = static_cast<double>(times.kernels[k].runs);
    const KernelCost& cost = costs_[k];
    row.flops += runs * cost.flops;
    row.bytes += runs * cost.bytes;
    if (cost.seconds) row.predicted = row.predicted.value_or(0) + runs * *cost.seconds;
  }
  add(sums_.to_device, times.to_device);
  add(sums_.to_host, times.to_host);
  return error;
}

Profile Profiler::profile(const std::string& name, const Executable& executable) const {
  const RunsOn place = executable.runs_on();
  const std::lock_guard lock(mutex_);
  Profile result = sums_;
  result.name = name;
  result.device = place.device;
  result.model = place.model;
  result.peak_flops = place.peak.flops;
  result.peak_bandwidth = place.peak.bandwidth;
  for (KernelProfile& row : result.kernels) {
    if (row.seconds <= 0 || place.peak.flops <= 0) continue;
    row.flop_share = row.flops / row.seconds / place.peak.flops;
    row.memory_share = row.bytes / row.seconds / place.peak.bandwidth;
  }
  return result;
}

}  // namespace detail

namespace {

// Lines of a table.
class Text {
 public:
  template <class... Values>
    requires(sizeof...(Values) > 0)
  void add(const char* format, Values... values) {
    char line[256];
    std::snprintf(line, sizeof line, format, values...);
    text_ += line;
  }
  void add(const std::string& text) { text_ += text; }
  const std::string& get() const { return text_; }

 private:
  std::string text_;
};

double divided(double total, double count) { return count > 0 ? total / count : 0; }

}  // namespace

std::string to_string(const Profile& profile) {
  Text text;
  const bool on_device = !profile.device.empty();
  const auto calls = static_cast<double>(profile.calls);
  text.add(profile.name + (on_device ? " on " + profile.device : ""));
  text.add(": %lld calls, %.3f ms each", static_cast<long long>(profile.calls),
           1e3 * divided(profile.seconds, calls));
  if (profile.peak_flops > 0) {
    text.add("  (peak %.1f GFLOP/s, %.1f GB/s)", profile.peak_flops / 1e9,
             profile.peak_bandwidth / 1e9);
  }
  text.add("\n");
  if (on_device) {
    text.add(profile.model.empty()
                 ? "no prediction: the driver does not tell enough of the device\n"
                 : "predicted, not measured, for " + profile.model + "\n");
  }
  // One line: times are those of `count` runs.
  const auto times = [&](double seconds, double count, const std::optional<double>& predicted) {
    text.add("%10.2f", 1e6 * divided(seconds, count));
    if (on_device && predicted) text.add(" %10.2f", 1e6 * divided(*predicted, count));
    if (on_device && !predicted) text.add(" %10s", "");
    text.add(" %5.1f%% %9lld", 100 * divided(seconds, profile.seconds),
             static_cast<long long>(count));
  };
  text.add("%10s", "us/call");
  if (on_device) text.add(" %10s", "predicted");
  text.add(" %6s %9s %10s %6s %9s %6s  %s\n", "time", "calls", "GFLOP/s", "peak", "GB/s", "peak",
           "kernel");
  std::vector<const KernelProfile*> order;
  for (const KernelProfile& row : profile.kernels) {
    if (row.calls > 0) order.push_back(&row);
  }
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    return a->seconds != b->seconds ? a->seconds > b->seconds : a < b;  // ties in program order
  });
  double measured = 0;
  for (const KernelProfile* row : order) {
    measured += row->seconds;
    times(row->seconds, static_cast<double>(row->calls), row->predicted);
    text.add(" %10.2f %5.1f%% %9.2f %5.1f%%  ", 1e-9 * divided(row->flops, row->seconds),
             100 * row->flop_share, 1e-9 * divided(row->bytes, row->seconds),
             100 * row->memory_share);
    text.add(std::string(2 * static_cast<std::size_t>(row->depth), ' ') + row->name);
    if (!row->source.empty()) text.add("  [" + row->source + "]");
    text.add("\n");
  }
  for (const auto& [copies, name] : {std::pair(&profile.to_device, "copies to the device"),
                                     std::pair(&profile.to_host, "copies to the host")}) {
    if (copies->count == 0) continue;
    measured += copies->seconds;
    times(copies->seconds, static_cast<double>(copies->count), std::nullopt);
    text.add(" %10s %6s %9.2f %6s  %s\n", "", "", 1e-9 * divided(copies->bytes, copies->seconds),
             "", name);
  }
  times(profile.seconds - measured, calls, std::nullopt);
  text.add(" %10s %6s %9s %6s  between kernels\n", "", "", "", "");
  return text.get();
}

std::ostream& operator<<(std::ostream& stream, const Profile& profile) {
  return stream << to_string(profile);
}

}  // namespace kroton
