// Runs one program in every way there is and compares the results.
#pragma once
#include "tests/fuzz/expected.h"
#include "tests/fuzz/program.h"

namespace fuzz {

// Beside the function compiled in the process, called on one thread and on several.
struct Ways {
  bool quick = false;    // machine code that is made faster and runs slower
  bool checked = false;  // compiled so that it watches its loads and stores (docs/checking.md)
  bool aot = false;      // an object file, linked and called
  bool cuda = false;     // the emulated device
};

struct Verdict {
  // The kind of the failure, and in full; both empty if there is none. The kind is what shrinking
  // keeps: "value", "error", "threads", "gradient" ...
  std::string kind, failure;
  bool ends_in_error = false;  // as the interpreter says it must
  int gradients = 0;           // compared with differences
  Tally tally;
};

Verdict check(const Program& program, const Ways& ways);

// Compares the gradients that the program asks for with differences of the interpreter's values.
void check_gradients(const Program& program, const Built& built, const Bindings& bindings,
                     Verdict& verdict);

// Calls the program as an object file: the outputs, then the updated variables' new values.
// kt::Error where the function refuses the call.
std::vector<kt::Array> call_ahead_of_time(const Program& program, const Built& built);

}  // namespace fuzz
