#include "tests/fuzz/check.h"

#include <cstdlib>
#include <cstring>

#include "compiler/codegen/llvm/jit.h"
#include "compiler/scan/scan.h"
#include "runtime/pool.h"
#include "tests/gpu_emulator/emulated_device.h"

namespace fuzz {
namespace {

using Arrays = std::vector<kt::Array>;

Bindings bindings_of(const Built& built, const Arrays& arguments) {
  Bindings bindings;
  for (std::size_t k = 0; k < built.inputs.size(); ++k) {
    bindings[&built.inputs[k].node()] = kt::from_array(arguments[k]);
  }
  return bindings;
}

std::vector<kt::Tensor> results_of(const Built& built) {
  std::vector<kt::Tensor> results = built.outputs;
  for (const kt::Update& update : built.updates) results.push_back(update.value);
  return results;
}

// Sizes that must be equal and are not, in what the tensors need, loops' steps and branches that
// are not taken included.
bool breaks_constraint(const std::vector<kt::Tensor>& tensors, const kt::SizeBindings& sizes) {
  for (const kt::Tensor& t : kt::topological_order(tensors)) {
    for (const kt::SizeConstraint& c : t.node().constraints) {
      if (kt::evaluate(c.left, sizes) != kt::evaluate(c.right, sizes)) return true;
    }
    if (t.node().attributes.body && breaks_constraint(t.node().attributes.body->results, sizes)) {
      return true;
    }
  }
  return false;
}

// Whether something in it has no element, or a loop no step or several states: what only that needs
// is evaluated by the interpreter or by the function and not by the other.
bool has_nothing_somewhere(const std::vector<kt::Tensor>& tensors, const kt::SizeBindings& sizes) {
  for (const kt::Tensor& t : kt::topological_order(tensors)) {
    const kt::Node& node = t.node();
    if (node.op.kind == kt::OpKind::scan) {
      // Of several states, one that nobody reads is not kept.
      if (kt::ScanView(node.attributes).states > 1) return true;
      if (kt::evaluate(node.attributes.dims[0], sizes) == 0) return true;
    } else if (kt::evaluate(kt::element_count(t.shape()), sizes) == 0) {
      return true;
    }
    if (node.attributes.body && has_nothing_somewhere(node.attributes.body->results, sizes)) {
      return true;
    }
  }
  return false;
}

bool same_bits(const kt::Array& a, const kt::Array& b) {
  return a.dtype() == b.dtype() && a.shape() == b.shape() &&
         (a.size() == 0 ||
          std::memcmp(a.raw(), b.raw(), static_cast<std::size_t>(a.nbytes())) == 0);
}

class Checker {
 public:
  Checker(const Program& program, const Ways& ways) : program_(program), ways_(ways) {}

  Verdict run() {
    kt::codegen::prefer_quick_code(ways_.quick);
    Built built = build(program_);
    built_ = &built;
    for (const kt::Shared& shared : built.shared) initial_.push_back(shared.get_value());
    compile();
    call(false);
    if (good() && has_second_sizes()) call(true);
    if (good() && function_) check_threads();
    if (good() && ways_.checked) other_way("checked");
    if (good() && ways_.aot) other_way("aot");
    if (good() && ways_.cuda) other_way("cuda");
    return std::move(verdict_);
  }

 private:
  bool good() const { return verdict_.kind.empty(); }
  void fail(const std::string& kind, const std::string& text) {
    if (verdict_.kind.empty()) {
      verdict_.kind = kind;
      verdict_.failure = text;
    }
  }

  // Others, at which no variable has less than no elements: of n - 1, say.
  bool has_second_sizes() const {
    for (const Variable* variable : built_->input_variables) {
      for (const kt::Dim& dim : variable->shape) {
        if (evaluate(program_, dim, true) < 0) return false;
      }
    }
    return std::any_of(program_.sizes.begin(), program_.sizes.end(),
                       [](const Size& size) { return size.first != size.second; });
  }

  void compile() {
    try {
      function_ = kt::function(built_->inputs, built_->outputs,
                               {.updates = built_->updates,
                                .name = "fuzzed",
                                .on_unused_input = kt::UnusedInput::ignore});
    } catch (const kt::InternalError& error) {
      fail("internal", error.what());
    } catch (const kt::Error& error) {
      compile_error_ = error.what();
    }
  }

  // The outputs, then the new values of the shared variables, which are set back.
  Arrays run_function(const kt::Function<kt::dynamic_outputs>& f, const Arrays& arguments) {
    const std::vector<kt::Argument> list(arguments.begin(), arguments.end());
    Arrays results = f.call(list);
    for (const kt::Update& update : built_->updates) {
      results.push_back(update.target.get_value());
    }
    set_back();
    return results;
  }
  void set_back() {
    for (std::size_t k = 0; k < initial_.size(); ++k) built_->shared[k].set_value(initial_[k]);
  }

  void call(bool second) {
    if (!good()) return;
    const Arrays arguments = built_->arguments(program_, second);
    const Bindings bindings = bindings_of(*built_, arguments);
    constexpr int runs = 3;
    const Expected expected = expect(results_of(*built_), bindings, runs, 1);
    std::string error = compile_error_;
    Arrays have;
    if (function_) {
      try {
        have = run_function(*function_, arguments);
      } catch (const kt::InternalError& internal) {
        return fail("internal", internal.what());
      } catch (const kt::Error& e) {
        error = e.what();
      }
    }
    if (!expected.error.empty() || !error.empty()) {
      compare_errors(expected.error, error, second);
      return;
    }
    compare(expected, bindings, have, second ? "sizes" : "value");
    if (second) return;
    expected_ = expected;
    first_ = std::move(have);
    if (good()) check_gradients(program_, *built_, bindings, verdict_);
  }

  void compare_errors(const std::string& interpreter, const std::string& function, bool second) {
    verdict_.ends_in_error = true;
    kt::SizeBindings sizes;
    for (const Size& size : program_.sizes) {
      sizes[size.dim.as_variable()->identity] = second ? size.second : size.first;
    }
    const std::vector<kt::Tensor> results = results_of(*built_);
    if (interpreter.empty()) {
      if (!breaks_constraint(results, sizes) && !has_nothing_somewhere(results, sizes)) {
        fail("error", function);
      }
    } else if (function.empty() && !has_nothing_somewhere(results, sizes)) {
      fail("no error", "the interpreter says: " + interpreter);
    }
  }

  // What differs at first sight is compared again with bounds of many runs with more rounding.
  void compare(const Expected& expected, const Bindings& bindings, const Arrays& have,
               const std::string& kind) {
    const std::string different = differences(expected, have, verdict_.tally);
    if (different.empty()) return;
    constexpr int runs = 40;
    const Expected wider = expect(results_of(*built_), bindings, runs, 4);
    Tally ignored;
    const std::string still = differences(wider, have, ignored);
    if (!still.empty()) fail(kind, still);
  }

  std::string differences(const Expected& expected, const Arrays& have, Tally& tally) const {
    std::string text;
    for (std::size_t k = 0; k < expected.values.size(); ++k) {
      const std::string different =
          difference(expected.values[k], expected.bounds[k], have.at(k), tally);
      if (different.empty()) continue;
      const bool update = k >= built_->outputs.size();
      text +=
          (text.empty() ? "" : "\n") + std::string(update ? "update of " : "output ") +
          (update ? built_->updates[k - built_->outputs.size()].target.name() : std::to_string(k)) +
          ": " + different;
    }
    return text;
  }

  // One thread and several give the same bits, at the first sizes and at larger ones.
  void check_threads() {
    if (verdict_.ends_in_error) return;
    kt::Pool& pool = kt::Pool::global();
    const std::int64_t before = pool.workers();
    const Arrays arguments = built_->arguments(program_, false);
    pool.set_threads(before == 1 ? 3 : 1);
    const Arrays other = run_function(*function_, arguments);
    pool.set_threads(before);
    for (std::size_t k = 0; k < other.size(); ++k) {
      if (!same_bits(other[k], first_[k])) {
        fail("threads", "result " + std::to_string(k) + " depends on the number of threads");
      }
    }
  }

  void other_way(const std::string& way) {
    if (verdict_.ends_in_error || !function_) return;
    const Arrays arguments = built_->arguments(program_, false);
    Arrays have;
    try {
      if (way == "aot") {
        have = call_ahead_of_time(program_, *built_);
      } else if (way == "checked") {
        ::setenv("KROTON_CHECK", "memory", 1);
        const auto f = kt::function(built_->inputs, built_->outputs,
                                    {.updates = built_->updates,
                                     .name = "checked",
                                     .on_unused_input = kt::UnusedInput::ignore});
        ::unsetenv("KROTON_CHECK");
        have = run_function(f, arguments);
      } else {
        const gpu_emulator::TestCuda cuda;
        const auto f = kt::function(built_->inputs, built_->outputs,
                                    {.updates = built_->updates,
                                     .name = "fuzzed",
                                     .target = kt::cuda(),
                                     .on_unused_input = kt::UnusedInput::ignore});
        have = run_function(f, arguments);
        have = run_function(f, arguments);  // now as a graph
      }
    } catch (const kt::Error& error) {
      fail(way, error.what());
      return;
    }
    compare(expected_, bindings_of(*built_, arguments), have, way);
  }

  const Program& program_;
  Ways ways_;
  Verdict verdict_;
  Built* built_ = nullptr;
  Arrays initial_;  // of the shared variables
  std::optional<kt::Function<kt::dynamic_outputs>> function_;
  std::string compile_error_;
  Expected expected_;
  Arrays first_;
};

}  // namespace

Verdict check(const Program& program, const Ways& ways) { return Checker(program, ways).run(); }

}  // namespace fuzz
