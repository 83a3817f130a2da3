#include "compiler/codegen/cuda/choices.h"

#include <kroton/error.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <map>
#include <mutex>

#include "runtime/cache.h"

namespace kroton::codegen {
namespace {

// Runs that are timed together take about so long, so that the clock's steps do not show.
constexpr double timed_seconds = 5e-4;
constexpr int most_timed = 16;
constexpr int rounds = 3;       // of which the quickest counts
constexpr double hopeless = 3;  // times as slow as another one: not timed again
constexpr double clearly_faster = 0.98;

constexpr std::string_view entry_text = "kroton choice 1: ";

struct Known {
  std::mutex mutex;
  std::map<Digest, int> choices;
};

Known& all_known() {
  static auto* const known = new Known;  // never destroyed
  return *known;
}

// Of an entry of the cache.
std::optional<int> parsed(const std::string& text, int candidates) {
  if (!text.starts_with(entry_text)) return std::nullopt;
  int number = -1;
  const char* end = text.data() + text.size();
  const auto read = std::from_chars(text.data() + entry_text.size(), end, number);
  if (read.ec != std::errc() || read.ptr != end || number < 0 || number >= candidates) {
    return std::nullopt;
  }
  return number;
}

std::optional<int> cached(const Digest& key, int candidates) {
  const std::optional<std::string> text = Cache::from_environment().load(key);
  return text ? parsed(*text, candidates) : std::nullopt;
}

}  // namespace

bool tunes_from_environment() {
  const char* asked = std::getenv("KROTON_TUNE");
  const std::string what = asked ? asked : "";
  if (what.empty() || what == "0") return false;
  if (what == "1") return true;
  throw ValueError("KROTON_TUNE is \"" + what + "\", expected 0 or 1");
}

std::vector<std::optional<double>> time_candidates(
    Device& device, const std::vector<std::function<void()>>& starts) {
  std::vector<std::optional<double>> best(starts.size());
  std::vector<int> times(starts.size(), 1);
  const auto measure = [&](std::size_t k) {
    try {
      const double all = device.seconds_of([&] {
        for (int run = 0; run < times[k]; ++run) starts[k]();
      });
      const double one = all / times[k];
      best[k] = best[k] ? std::min(*best[k], one) : one;
    } catch (const DeviceError&) {
      device.check_usable();
      best[k].reset();
      times[k] = 0;
    }
  };
  for (std::size_t k = 0; k < starts.size(); ++k) {
    measure(k);  // what is needed at the first run only is not timed
    if (!best[k]) continue;
    best[k].reset();
    measure(k);
    if (!best[k]) continue;
    times[k] = *best[k] <= 0 ? most_timed
                             : std::clamp(static_cast<int>(std::min(timed_seconds / *best[k], 1e3)),
                                          1, most_timed);
  }
  double quickest = -1;
  for (const auto& seconds : best) {
    if (seconds && (quickest < 0 || *seconds < quickest)) quickest = *seconds;
  }
  // In turns: a clock that changes its rate changes it for all.
  for (int round = 0; round < rounds; ++round) {
    for (std::size_t k = 0; k < starts.size(); ++k) {
      if (best[k] && (round == 0 ? *best[k] <= hopeless * quickest : times[k] > 0)) {
        measure(k);
      } else {
        times[k] = 0;
      }
    }
  }
  return best;
}

std::optional<int> fastest(const std::vector<std::optional<double>>& seconds) {
  const auto faster = [](const std::optional<double>& a, const std::optional<double>& b) {
    return a && (!b || *a < *b);
  };
  const auto best = std::min_element(seconds.begin(), seconds.end(), faster);
  if (best == seconds.end() || !*best) return std::nullopt;
  if (seconds[0] && **best > clearly_faster * *seconds[0]) return 0;
  return static_cast<int>(best - seconds.begin());
}

std::optional<int> known_choice(const Digest& key, int candidates) {
  Known& known = all_known();
  const std::lock_guard lock(known.mutex);
  const auto found = known.choices.find(key);
  if (found != known.choices.end() && found->second < candidates) return found->second;
  const std::optional<int> kept = cached(key, candidates);
  if (kept) known.choices[key] = *kept;
  return kept;
}

int keep_choice(const Digest& key, int chosen, int candidates) {
  Known& known = all_known();
  const std::lock_guard lock(known.mutex);
  if (const std::optional<int> kept = cached(key, candidates)) {
    chosen = *kept;
  } else {
    Cache::from_environment().store(key, std::string(entry_text) + std::to_string(chosen));
  }
  known.choices[key] = chosen;
  return chosen;
}

void forget_choices() {
  Known& known = all_known();
  const std::lock_guard lock(known.mutex);
  known.choices.clear();
}

}  // namespace kroton::codegen
