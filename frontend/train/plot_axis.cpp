#include "frontend/train/plot_axis.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace kroton::plot {

namespace {

using Wide = long double;

std::string superscript(int value) {
  static constexpr const char* digits[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  std::string text = value < 0 ? "⁻" : "";
  for (const char digit : std::to_string(std::abs(value))) text += digits[digit - '0'];
  return text;
}

std::string fixed(Wide value, int decimals) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*Lf", decimals, value);
  const std::string result = text;
  // No "-0.0".
  if (result.front() == '-' && result.find_first_of("123456789") == std::string::npos) {
    return result.substr(1);
  }
  // A true minus sign.
  return result.front() == '-' ? "−" + result.substr(1) : result;
}

// The least of 1, 2 and 5 times a power of ten that is not below `least`.
Wide nice_step(Wide least) {
  const Wide power = std::pow(Wide{10}, std::floor(std::log10(least)));
  for (const int factor : {1, 2, 5}) {
    // Rounding does not make ten steps of five.
    if (power * factor >= least * (1 - Wide{1e-9})) return power * factor;
  }
  return power * 10;
}

}  // namespace

Axis::Axis(const std::vector<double>& values, Scale scale, const std::optional<Range>& range,
           double room, int most, bool zero)
    : is_log_(scale == Scale::log) {
  const bool whole =
      !values.empty() && std::ranges::all_of(values, [](double v) { return v == std::floor(v); });
  bool any = false;
  const auto include = [&](Wide value) {
    low_ = any ? std::min(low_, value) : value;
    high_ = any ? std::max(high_, value) : value;
    any = true;
  };
  if (range) {
    include(along(range->first));
    include(along(range->second));
  } else {
    for (const double value : values) {
      if (const Wide at = along(value); std::isfinite(at)) include(at);
    }
    if (zero && any && !is_log_) include(0);
    // What is one value but for rounding has something around it.
    const Wide size = std::max(std::abs(low_), std::abs(high_));
    if (!any) {
      high_ = 1;
    } else if (high_ - low_ <= size * Wide{1e-12}) {
      const Wide around = is_log_ ? Wide{0.5} : size == 0 || (whole && size < 10) ? 1 : size / 10;
      low_ -= around;
      high_ += around;
    } else {
      const Wide margin = (high_ - low_) * room;
      if (!zero || low_ != 0) low_ -= margin;
      if (!zero || high_ != 0) high_ += margin;
    }
  }
  if (is_log_) {
    make_log_ticks(most);
  } else {
    make_linear_ticks(most, whole);
  }
}

Axis::Wide Axis::along(Wide value) const {
  if (!is_log_) return value;
  return value > 0 ? std::log10(value) : std::nan("");
}

double Axis::position(double value) const {
  const Wide at = along(value);
  if (!std::isfinite(at)) return std::nan("");
  return static_cast<double>((at - low_) / (high_ - low_));
}

void Axis::make_linear_ticks(int most, bool whole) {
  Wide step = nice_step((high_ - low_) / std::max(most, 1));
  if (whole && high_ - low_ >= 1) step = std::max(step, Wide{1});
  const Wide size = std::max(std::abs(low_), std::abs(high_));
  int exponent = static_cast<int>(std::floor(std::log10(size)));
  if (exponent >= -4 && exponent < 6) exponent = 0;
  if (exponent != 0) factor_ = "×10" + superscript(exponent);
  const Wide unit = std::pow(Wide{10}, exponent);
  // As many decimals as the step has.
  const int decimals =
      std::clamp(-static_cast<int>(std::floor(std::log10(step / unit) + Wide{1e-9})), 0, 17);
  const Wide slack = (high_ - low_) * Wide{1e-9};
  for (Wide k = std::ceil((low_ - slack) / step); k * step <= high_ + slack; ++k) {
    ticks_.push_back({static_cast<double>((k * step - low_) / (high_ - low_)),
                      fixed(k * step / unit, decimals)});
  }
}

void Axis::make_log_ticks(int most) {
  const auto add = [&](Wide at, const std::string& label) {
    const Wide position = (at - low_) / (high_ - low_);
    if (position < -1e-9 || position > 1 + 1e-9) return;
    ticks_.push_back({static_cast<double>(position), label});
  };
  const int first = static_cast<int>(std::floor(low_)), last = static_cast<int>(std::ceil(high_));
  const int decades = last - first;
  const int every = std::max(1, (decades + most - 1) / std::max(most, 1));
  // Between powers of ten where there are few of them.
  const bool has_between = high_ - low_ <= 2.5;
  for (int power = first; power <= last; ++power) {
    if ((power % every + every) % every != 0) continue;
    for (const int factor : {1, 2, 5}) {
      if (factor > 1 && !has_between) break;
      const bool is_plain = power >= -3 && power <= 4;
      const std::string times = factor > 1 ? std::to_string(factor) + "·" : "";
      add(power + std::log10(Wide{1} * factor),
          is_plain ? fixed(factor * std::pow(Wide{10}, power), std::max(0, -power))
                   : times + "10" + superscript(power));
    }
  }
  // Less than all that: a tick at each end.
  if (ticks_.size() >= 2) return;
  ticks_.clear();
  for (const Wide at : {low_, high_}) {
    char label[32];
    std::snprintf(label, sizeof label, "%.4Lg", std::pow(Wide{10}, at));
    add(at, label);
  }
}

}  // namespace kroton::plot
