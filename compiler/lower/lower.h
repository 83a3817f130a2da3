// From an optimised graph to a Program.
#pragma once
#include <functional>

#include "compiler/base/machine.h"
#include "compiler/ir/graph.h"
#include "compiler/lower/program.h"

namespace kroton {

// What the checking mode looks for (docs/checking.md).
struct Checks {
  bool memory = false;  // accesses outside of a buffer, reads of what nothing has written
  bool values = false;  // results that are not finite though their operands are
  // What KROTON_CHECK asks for: nothing if it is not set, empty or "0"; "memory", "values"; both
  // for "1". ValueError for anything else.
  static Checks from_environment();
};

// Results that a tile of a convolution has along each axis, at most, where tiles save
// multiplications (contraction/winograd.h); 1: none does.
struct WinogradTiles {
  int most = 2;
  // What KROTON_WINOGRAD asks for: 2 if it is not set or empty; 0 (none), 2 or 4. ValueError for
  // anything else.
  static WinogradTiles from_environment();
};

// What is asked of the code besides what it computes.
struct LoweringOptions {
  LoweringOptions(const Checks& wanted = {}, bool contracted = false,  // NOLINT: implicit
                  const WinogradTiles& tiles = {})
      : checks(wanted), contract(contracted), winograd(tiles) {}
  Checks checks;
  bool contract;  // a * b + c is rounded once
  WinogradTiles winograd;
  // On a GPU: steps have all the candidates that are worth being timed (Step::choice). Not where
  // anything is checked.
  bool candidates = false;
  // Whether a library for products is there, and one for convolutions, asked only where there is
  // one to compute; may be empty.
  std::function<bool()> products = {}, convolutions = {};
};

// `name` becomes the entry's symbol.
Program lower(const Graph& graph, const std::string& name, const Machine& machine,
              const LoweringOptions& options = {});

}  // namespace kroton
