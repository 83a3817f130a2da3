#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "compiler/base/default_float_environment.h"
#include "compiler/base/dump.h"
#include "compiler/passes/passes.h"

namespace kroton {
namespace {

// The passes on graphs, in the order they run. Fusion comes after them: it is no rewrite.
constexpr Pass passes[] = {
    {"stabilize", stabilize,
     "canonicalizes too, and needs logarithms and quotients as the user wrote them: before normal "
     "forms move views through them, before composites are expanded, and before a gradient is "
     "taken, which would be of the unstable form",
     true},
    {"cse", eliminate_common_subexpressions,
     "merges what the user and the gradient wrote twice, before it is expanded twice", true},
    {"widen", compute_in_wider_dtypes,
     "after stabilize, whose patterns have no conversions in them; before composites and products "
     "are taken apart, whose parts are not rounded"},
    {"expand", expand_composites, "the rest sees primitive ops only"},
    {"small_dots", reduce_small_dots,
     "before canonicalize, which cleans up the axes of size 1 it makes"},
    {"sparse_updates", scatter_into_states, "before fold, for the scalars that it multiplies"},
    {"fold", fold_constants, "its literals are matched by canonicalize"},
    {"canonicalize", canonicalize, "tidies the compositions of expand and small_dots"},
    {"cse", eliminate_common_subexpressions, "merges what the compositions have in common"},
    {"scans", optimize_scans, "when all that is left of a scan's results is known to be wanted"},
    {"confine_failures", confine_failures,
     "after all that may merge what different branches need, or find a branch useless"},
    {"dce", eliminate_dead_code, "leaves fusion a graph without dead vertices, numbered in order"},
};

#ifdef NDEBUG
constexpr bool debug_build = false;
#else
constexpr bool debug_build = true;
#endif

void run(Graph& graph, const char* title, bool before_gradient) {
  const DefaultFloatEnvironment rounding;  // constants are folded
  const UnifiedSizes sizes;
  const bool times = std::getenv("KROTON_TIME") != nullptr;
  if (dumps("input")) std::fprintf(stderr, "%sinput\n%s", title, to_string(graph).c_str());
  for (const Pass& pass : passes) {
    if (before_gradient && !pass.before_gradient) continue;
    const auto start = std::chrono::steady_clock::now();
    const bool changed = pass.run(graph);
    const std::chrono::duration<double, std::milli> elapsed =
        std::chrono::steady_clock::now() - start;
    if (debug_build || verify_passes) {
      try {
        verify(graph);
      } catch (const InternalError& error) {
        throw InternalError(std::string(pass.name) + ": " + error.what());
      }
    }
    if (dumps(pass.name)) {
      std::fprintf(stderr, "%s%s%s\n%s", title, pass.name, changed ? "" : ": unchanged",
                   changed ? to_string(graph).c_str() : "");
    }
    if (times) std::fprintf(stderr, "%-24s %9.3f ms\n", pass.name, elapsed.count());
  }
}

}  // namespace

bool verify_passes = false;

std::span<const Pass> all_passes() { return passes; }

void run_passes(Graph& graph) { run(graph, "== ", false); }
void run_passes_in_loop(Graph& body) { run(body, "== in a loop: ", false); }
void run_passes_before_gradient(Graph& graph) { run(graph, "== before the gradient: ", true); }

}  // namespace kroton
