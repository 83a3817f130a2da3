#include "compiler/codegen/cuda/call_timer.h"

namespace kroton::codegen {

void CallTimer::measure(MeasuredTime& time, const std::function<void()>& start) {
  if (pending_.size() == most_pending) settle();
  if (pending_.size() == events_.size()) {
    events_.push_back({device_->make_timed_event(), device_->make_timed_event()});
  }
  const Events& events = events_[pending_.size()];
  device_->record(*events.begin);
  start();
  device_->record(*events.end);
  pending_.push_back(&time);
}

void CallTimer::settle() {
  if (pending_.empty()) return;
  device_->synchronize();
  for (std::size_t k = 0; k < pending_.size(); ++k) {
    pending_[k]->seconds += device_->seconds_between(*events_[k].begin, *events_[k].end);
    ++pending_[k]->runs;
  }
  pending_.clear();
}

}  // namespace kroton::codegen
