// Loops whose gradient keeps the states of some steps only, and computes the others again.
#pragma once
#include "compiler/scan/scan.h"

namespace kroton {

// What make_scan gives, as loops over stretches of `every` steps: a step of the outer loop runs a
// stretch, and the outer loop's gradient keeps nothing but the states before each. The steps that
// fill no stretch come first, as a loop of their own. Wanted are stacks, or last values of states.
std::vector<Tensor> make_scan_in_stretches(const ScanDefinition& loop,
                                           std::span<const ScanResult> wanted, const Dim& every);

// Steps in a stretch where there are about as many stretches: between half of sqrt(count) and that.
Dim about_sqrt(const Dim& count);

}  // namespace kroton
