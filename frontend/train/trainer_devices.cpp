// A Trainer whose batches are shared by several devices.
#include <kroton/collectives.h>
#include <kroton/error.h>

#include "frontend/train/lines.h"
#include "frontend/train/trainer_parts.h"

namespace kroton::nn {

void Trainer::Parts::check_devices() const {
  if (!options.devices) return;
  const Target& first = options.devices->devices().front();
  if (options.target != cpu() && options.target != first) {
    fail_trainer("target is " + to_string(options.target) + ", and the first of the devices is " +
                 to_string(first) + ": it is that one, or not given" + place());
  }
  if (options.own_streams) {
    fail_trainer(
        "there are both devices and own_streams: what several devices share runs in the own stream "
        "of each" +
        place());
  }
  if (options.mask) {
    fail_trainer(
        "there are both devices and a mask: parts of a batch count by their rows, not by what a "
        "mask leaves of them" +
        place());
  }
}

std::vector<Tensor> Trainer::Parts::of_all_devices(std::vector<Tensor> values) const {
  if (!options.devices) return values;
  const LineScope scope(line_of(at));
  for (Tensor& value : values) {
    if (value.rank() == 0 && !is_float(value.dtype())) value = cast(value, f64);
  }
  return data_parallel_measures(values, x[0], *options.devices);
}

void check_batches(const FitOptions& options, const TrainerOptions& trainer, std::int64_t count) {
  if (!trainer.devices) return;
  const auto fail = [&](const std::string& what, std::int64_t examples) {
    throw ValueError("fit: " + what + std::to_string(examples) +
                     (examples == 1 ? " example" : " examples") + ", fewer than the " +
                     std::to_string(trainer.devices->size()) + " devices that share it");
  };
  const std::int64_t devices = trainer.devices->size(), last = count % options.batch;
  if (options.batch < devices) fail("a batch has ", options.batch);
  if (last == 0 || options.drop_last || last >= devices) return;
  fail("drop_last is false, and the last batch of an epoch has ", last);
}

}  // namespace kroton::nn
