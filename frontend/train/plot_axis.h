// An axis of a chart: from what to what, where its ticks stand and what they say.
#pragma once
#include <kroton/plot.h>

#include <string>
#include <vector>

namespace kroton::plot {

struct Tick {
  double at = 0;  // from 0 to 1 along the axis
  std::string label;
};

class Axis {
 public:
  // For the finite values among these. `room` is how far its ends are from the outermost of them,
  // as a part; `most` is about how many ticks it has; with `zero` 0 is an end of it. Where all
  // values are whole so are the ticks.
  Axis(const std::vector<double>& values, Scale scale, const std::optional<Range>& range,
       double room, int most, bool zero = false);

  // Where a value is: 0 to 1 along the axis, beyond if it is outside; NaN for a gap.
  double position(double value) const;
  const std::vector<Tick>& ticks() const { return ticks_; }
  // What all labels are to be multiplied by: "×10⁶", mostly nothing.
  const std::string& factor() const { return factor_; }

 private:
  // Wider than a double, so that the difference of two of them is a number.
  using Wide = long double;
  Wide along(Wide value) const;
  void make_linear_ticks(int most, bool whole);
  void make_log_ticks(int most);

  bool is_log_;
  Wide low_ = 0, high_ = 1;  // logarithms on a logarithmic axis
  std::vector<Tick> ticks_;
  std::string factor_;
};

}  // namespace kroton::plot
