// Programs are checked in processes of their own: a crash, an endless compilation or a damaged heap
// is a finding like any other, and nothing that one program does reaches the next.
#pragma once
#include <functional>
#include <string>

#include "tests/fuzz/check.h"

namespace fuzz {

// Checks the program in a child, for at most `seconds`; a crash is "crash", time that ran out
// "hang".
Verdict check_apart(const Program& program, const Ways& ways, double seconds);

// Whether `body` comes to its end in a child, in that time.
bool survives(const std::function<void()>& body, double seconds);

struct Finding {
  std::uint64_t seed = 0;
  std::string kind, failure;
};

struct Totals {
  long graphs = 0, errors = 0, gradients = 0, compared = 0, left_out = 0;
};

// Which ways the program of a seed is checked in, beside the function compiled in the process.
using WaysOf = std::function<Ways(std::uint64_t seed)>;

// Checks the programs of the seeds [first, first + count) in a child, which is replaced when it
// ends before its time. Calls `found` for every failure. `go_on` is asked between programs.
Totals check_seeds(std::uint64_t first, std::uint64_t count, const WaysOf& ways, double seconds,
                   const std::function<void(const Finding&)>& found,
                   const std::function<bool()>& go_on);

}  // namespace fuzz
