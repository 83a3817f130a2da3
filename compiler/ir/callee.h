// What a `call` node calls.
#pragma once
#include <kroton/external.h>

#include <string>
#include <vector>

namespace kroton {

// A function of the user's own, or one of Kroton's. Nodes share it: two calls are equal only if
// they are of one Callee.
struct Callee {
  ExternalOptions options;

  // Of Kroton's own functions only.
  //
  // The operation that it computes, as messages and dumps call it.
  std::string operation = {};
  // What is wrong where it returns 1, 2, ...: errors[0], errors[1], ... Its last result, i64 (2,),
  // holds the two numbers that %index and %size stand for: which matrix, and where in it. Of a
  // user's function, which has none, the number that it returns is told.
  std::vector<std::string> errors = {};
  // It takes batches of matrices: gets the sizes of arrays of two axes and more as
  // (count, rows, columns).
  bool takes_matrices = false;
  // The same of f64, for the reference interpreter, whose numbers are.
  ExternalFunction in_f64 = nullptr;
  // What it needs to be linked, for the header of what is written ahead of time.
  std::string libraries = {};

  bool is_users() const { return errors.empty(); }
};

}  // namespace kroton
