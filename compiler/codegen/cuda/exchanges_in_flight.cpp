#include "compiler/codegen/cuda/exchanges_in_flight.h"

#include <algorithm>
#include <utility>

namespace kroton::codegen {

void ExchangesInFlight::add(const Memory& in, const Memory& out) {
  InFlight& started = in_flight_.emplace_back();
  if (spare_events_.empty()) spare_events_.push_back(device_->make_event());
  started.done = std::move(spare_events_.back());
  spare_events_.pop_back();
  device_->record_exchange(*started.done);
  started.touched = {in, out};
}

void ExchangesInFlight::settle(const Memory& touched) {
  std::size_t last = in_flight_.size();
  const auto touches = [&](const Memory& other) {
    return touched.begin < other.end && other.begin < touched.end;
  };
  while (last > 0 && std::ranges::none_of(in_flight_[last - 1].touched, touches)) --last;
  settle_first(last);
}

void ExchangesInFlight::settle_all() { settle_first(in_flight_.size()); }

void ExchangesInFlight::settle_first(std::size_t count) {
  if (count == 0) return;
  device_->wait_for_exchange(*in_flight_[count - 1].done);
  for (std::size_t k = 0; k < count; ++k) spare_events_.push_back(std::move(in_flight_[k].done));
  in_flight_.erase(in_flight_.begin(), in_flight_.begin() + static_cast<std::ptrdiff_t>(count));
}

}  // namespace kroton::codegen
