// The line that tells how a training goes.
#pragma once
#include <kroton/trainer.h>

#include <chrono>
#include <iosfwd>
#include <string>

namespace kroton::nn {

// How many columns the terminal has that the stream writes to; 0 where it writes to none.
int terminal_columns(const std::ostream& stream);

// "loss 0.1234  accuracy 0.9876"
std::string text_of(const Measured& measured);

class ProgressLine : public Callback {
 public:
  explicit ProgressLine(std::ostream& stream);
  ~ProgressLine() override;
  ProgressLine(const ProgressLine&) = delete;
  ProgressLine& operator=(const ProgressLine&) = delete;
  void on_batch_end(FitState& fit, const Measured& of_batch) override;
  void on_epoch_end(FitState& fit) override;

 private:
  using Clock = std::chrono::steady_clock;
  void show(const std::string& line);

  std::ostream& stream_;
  bool redraws_;
  bool is_open_ = false;  // a line stands there that does not end yet
  Clock::time_point shown_ = {};
};

}  // namespace kroton::nn
