// Makes a failing program smaller as long as it fails in the same way.
#pragma once
#include "tests/fuzz/isolate.h"

namespace fuzz {

// Statements go, operands take the place of what is made of them, outputs and updates go, sizes
// become small and known. At most `seconds` long; each trial in a process of its own.
Program shrunk(const Program& program, const std::string& kind, const Ways& ways,
               double seconds_each, double seconds);

}  // namespace fuzz
