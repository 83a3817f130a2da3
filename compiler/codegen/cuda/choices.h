// Which of several ways to the same results is the fastest on a device: timed once, then known.
#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "runtime/device.h"
#include "runtime/sha256.h"

namespace kroton::codegen {

// Whether KROTON_TUNE asks for choices to be timed: 1; not if it is not set, empty or 0. ValueError
// for anything else.
bool tunes_from_environment();

// What the candidates take, in seconds, one run of each; `starts[k]` starts one. Each is run often
// enough to be told from the others, those that are several times as slow as another one only once.
// Nothing for one that the device refuses (memory, a grid too large); what spoils the device for
// good is a DeviceError.
std::vector<std::optional<double>> time_candidates(
    Device& device, const std::vector<std::function<void()>>& starts);

// The fastest. The first unless another one is clearly faster, so that noise changes nothing.
// Nothing if none has a time.
std::optional<int> fastest(const std::vector<std::optional<double>>& seconds);

// What was chosen under that key, in this process or, where there is a cache, in another one; fewer
// than `candidates`. What is in the cache and cannot be used counts as nothing.
std::optional<int> known_choice(const Digest& key, int candidates);
// From now on that is it; what another process has kept meanwhile stands. The one that holds.
int keep_choice(const Digest& key, int chosen, int candidates);
// As in a new process, for tests.
void forget_choices();

}  // namespace kroton::codegen
