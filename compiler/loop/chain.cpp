// Runs a kernel with the time at which each value is there in place of the value. Indices and what
// else sizes and loops decide have their values.
#include "compiler/loop/chain.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "compiler/loop/elementary.h"
#include "compiler/loop/place_values.h"
#include "compiler/loop/scalar.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

// Iterations of a longer loop that are followed, the last half of which says how long others take.
constexpr std::int64_t followed = 8;
constexpr std::int64_t short_loop = 64;
constexpr std::int64_t longest_sum = 1024;
// Iterations of a loop of threads that are followed.
constexpr std::int64_t threads_followed = 16;
// Loads of so many iterations of a loop are under way before the thread waits for them.
constexpr std::int64_t iterations_together = 4;
// Warps of a processor that begin an operation in the same cycle.
constexpr double schedulers = 4;
constexpr double warp = 32;

struct Time {
  double at = 0;  // when the value is there
  // Of a product when its operands are, of others the same: what adds it needs no product before.
  double operands = 0;
  bool is_product = false;
  std::optional<std::int64_t> known = {};
};

// A sum, or a maximum: of what arrives at these times, combined as a tree.
struct Sum {
  double latest = 0;
  double weights = 0;  // of 2 to the power of the time in operations, after `latest`
  double of(double operation) const {
    return weights == 0 ? 0 : latest + operation * std::max(1.0, std::log2(weights));
  }
  void add(double at, double operation) {
    const double next = std::max(latest, at);
    weights = weights * std::exp2((latest - next) / operation) + std::exp2((at - next) / operation);
    latest = next;
  }
};

class Chain {
 public:
  Chain(const ChainCosts& costs, const std::function<std::int64_t(const DimAtom&)>& value_of_size)
      : costs_(costs), value_of_size_(value_of_size) {}

  double of(const Block& body) {
    run(body);
    return std::max(latest_, now_);
  }

 private:
  struct Scalars {
    Time time;
    Sum sum;
  };
  struct Element {
    double at = 0;
    Sum sum;
  };

  void run(const Block& block) {
    LetValues<Time>::Scope scope(lets_);
    for (const Stmt& s : block) {
      if (const auto* let = std::get_if<Let>(&s)) {
        if (let->life == Let::Life::loop) continue;
        scope.hide(*let);
        scope.let(*let, expression(let->value));
        issue();
        continue;
      }
      statement(s);
      issue();
      scope.end_statement();
    }
  }

  void statement(const Stmt& s) {
    visit(
        s, [](const Let&) {}, [](const Allocate&) {}, [](const Copy&) {}, [](const Multiply&) {},
        [&](const Barrier&) { wait(); },
        [&](const Declare& declare) {
          Scalars& scalar = scalars_[declare.variable.id];
          scalar = {expression(declare.init), {}};
          write(scalar.time.at, scalar.time.at);
        },
        [&](const Store& store) { this->store(store); },
        [&](const Accumulate& sum) { accumulate(sum.variable, expression(sum.value)); },
        [&](const AccumulateArg& best) {
          Time value = expression(best.value);
          value.at = std::max(value.at, expression(best.at).at);
          accumulate(best.best, value);
          accumulate(best.position, value);
        },
        [&](const For& loop) { iterations(loop); },
        [&](const If& branch) {
          const Time condition = expression(branch.condition);
          if (condition.known) {
            run(*condition.known != 0 ? branch.then_body : branch.else_body);
          } else if (!costs_.is_bound) {
            // Which side is not known: the longer one.
            now_ = std::max(now_, condition.at);
            const double begin = now_;
            run(branch.then_body);
            const double then = std::exchange(now_, begin);
            run(branch.else_body);
            now_ = std::max(now_, then);
          }
        });
  }

  void store(const Store& store) {
    const Time index = expression(store.index);
    // What comes into registers is waited for where it is used.
    const double loads = loads_;
    const Time value = expression(store.value);
    if (store.buffer->space == Space::registers && store.value->op == Op::load) loads_ = loads;
    if (!index.known) return;
    Element& to = elements_[store.buffer->id][*index.known];
    if (const Expr* added = costs_.is_bound ? added_by(store) : nullptr) {
      double at = expression(*added).operands;
      if (store.value->op == Op::fma) at = std::max(at, expression(store.value->args[1]).at);
      const double operation = operation_of(store.buffer->dtype);
      if (to.sum.weights == 0) to.sum.add(to.at, operation);
      to.sum.add(at, operation);
      write(to.at, std::max({index.at, at + operation, to.sum.of(operation)}));
      return;
    }
    to.sum = {};
    write(to.at, std::max(value.at, index.at));
  }

  // What the element that is stored to is increased by, the first factor of a product; null if that
  // is not what the statement does.
  static const Expr* added_by(const Store& store) {
    const Expr& value = store.value;
    const auto is_before = [&](const Expr& e) {
      return e->op == Op::load && e->buffer->id == store.buffer->id && e->args[0] == store.index &&
             !is_conditional(*e);
    };
    if (value->op == Op::fma && is_before(value->args[2])) return &value->args[0];
    if (value->op != Op::add) return nullptr;
    if (is_before(value->args[0])) return &value->args[1];
    return is_before(value->args[1]) ? &value->args[0] : nullptr;
  }

  void accumulate(const Variable& variable, const Time& value) {
    const double operation = operation_of(variable.dtype);
    Scalars& scalar = scalars_[variable.id];
    issued_ += value.is_product ? 0 : 1;
    if (costs_.is_bound) {
      scalar.sum.add(value.operands, operation);
      write(scalar.time.at, std::max(scalar.time.at, scalar.sum.of(operation)));
    } else {
      write(scalar.time.at, std::max({scalar.time.at, value.operands, now_}) + operation);
    }
    if (std::find(inner_.begin(), inner_.end(), variable.id) == inner_.end())
      shared_.insert(variable.id);
    scalar.time = {scalar.time.at, scalar.time.at, false, {}};
  }

  void iterations(const For& loop) {
    const Time extent = expression(loop.extent);
    const std::int64_t count = extent.known.value_or(costs_.is_bound ? 0 : 1);
    if (count <= 0) return;
    LetValues<Time>::Scope scope(lets_);
    for (const Stmt& s : loop.body) {
      const auto* let = std::get_if<Let>(&s);
      if (let == nullptr || let->life != Let::Life::loop) continue;
      scalars_[loop.variable.id].time = known(0);
      scope.hide(*let);
      scope.let(*let, expression(let->value));
    }
    if (loop.kind == LoopKind::block) {
      threads_ = loop.width;
      one(loop, 0);
    } else if (loop.kind == LoopKind::thread) {
      threads(loop, count);
    } else {
      in_order(loop, count);
    }
  }

  void one(const For& loop, std::int64_t number) {
    Scalars& scalar = scalars_[loop.variable.id];
    scalar.time = known(number);
    run(loop.body);
  }

  // One iteration after the other.
  void in_order(const For& loop, std::int64_t count) {
    const bool only_sums = std::all_of(loop.body.begin(), loop.body.end(), [](const Stmt& s) {
      return std::holds_alternative<Accumulate>(s) || std::holds_alternative<Let>(s);
    });
    const bool is_long = count > (costs_.is_bound && only_sums ? longest_sum : short_loop);
    const std::int64_t each = is_long && !(costs_.is_bound && only_sums) ? followed : count;
    const bool is_written_out = loop.kind == LoopKind::unroll;
    const std::int64_t together = only_sums ? iterations_together : 1;
    std::vector<double*>* const outer = written_;
    std::vector<double*> written;
    double half = 0, issued = 0, requests = 0;
    for (std::int64_t i = 0; i < std::min(each, longest_sum); ++i) {
      written.clear();
      if (is_long) written_ = &written;
      one(loop, i);
      const bool waits = !costs_.is_bound && !is_written_out && (i + 1) % together == 0;
      if (waits) now_ = std::max(now_, std::exchange(loads_, 0));
      if (i + 1 != followed / 2) continue;
      half = std::max(latest_, now_);
      issued = issued_before_;
      requests = requests_;
    }
    written_ = outer;
    if (!is_long || each == count) return;
    // What each further iteration takes.
    const double further = static_cast<double>(count - each) / (followed - followed / 2);
    const double more = (std::max(latest_, now_) - half) * further;
    issued_before_ += (issued_before_ - issued) * further;
    requests_ += (requests_ - requests) * further;
    std::sort(written.begin(), written.end());
    written.erase(std::unique(written.begin(), written.end()), written.end());
    for (double* at : written) *at += more;
    if (outer != nullptr) outer->insert(outer->end(), written.begin(), written.end());
    latest_ += more;
    if (!costs_.is_bound) now_ += more;
  }

  void threads(const For& loop, std::int64_t count) {
    inner_.clear();
    shared_.clear();
    bool holds = false;
    visit_statements(loop.body, [&](const Stmt& s) {
      if (const auto* declare = std::get_if<Declare>(&s)) inner_.push_back(declare->variable.id);
      holds = holds || std::holds_alternative<Allocate>(s);
    });
    if (costs_.is_bound) {
      // Threads have registers of their own.
      const std::int64_t several = holds ? 1 : std::min(count, threads_followed);
      for (std::int64_t i = 0; i < several; ++i) one(loop, i);
      return;
    }
    const double begin = now_;
    issued_before_ = requests_ = 0;
    const auto all = static_cast<double>(count);
    one(loop, 0);
    // The other warps of the same scheduler, and further iterations, begin theirs meanwhile.
    const double turns = std::ceil(all / threads_);
    const double warps = std::ceil(std::min(all, threads_) / warp);
    const double issuing = issued_before_ * costs_.issue * std::ceil(warps / schedulers);
    now_ = std::max(now_, begin + turns * std::max(issuing, requests_ * warps));
    if (shared_.empty()) return;
    double combining = 5 * (costs_.shuffle + costs_.operation);
    if (threads_ > warp) {
      combining += costs_.barrier + costs_.load_shared + threads_ / warp * costs_.operation;
    }
    for (const int id : shared_) {
      Time& time = scalars_[id].time;
      time.at = time.operands = std::max(time.at, now_) + combining;
      latest_ = std::max(latest_, time.at);
    }
    if (threads_ > warp) now_ = std::max(now_, latest_);
  }

  void wait() {
    if (!costs_.is_bound) now_ = std::max({now_, latest_, loads_}) + costs_.barrier;
  }

  void issue() {
    now_ += static_cast<double>(issued_) * costs_.issue;
    issued_before_ += static_cast<double>(issued_);
    issued_ = 0;
  }

  void write(double& to, double at) {
    to = at;
    latest_ = std::max(latest_, at);
    if (written_ != nullptr) written_->push_back(&to);
  }

  double operation_of(DType dtype) const {
    return is_float(dtype) && size_of(dtype) > 4 ? costs_.operation_f64 : costs_.operation;
  }

  static Time known(std::int64_t value) { return {0, 0, false, value}; }

  Time expression(const Expr& e) {
    if (const Time* found = lets_.find(e.get())) return *found;
    switch (e->op) {
      case Op::real:
        return {};
      case Op::integer:
        return known(e->integer);
      case Op::size:
        return known(e->dim.evaluate(value_of_size_));
      case Op::variable:
        return scalars_[e->variable.id].time;
      case Op::load:
        return load(*e);
      case Op::check_index:
      case Op::check:
        return expression(e->args[0]);
      case Op::shortcut:
        return expression(e->args[costs_.is_bound ? 1 : 2]);
      default:
        break;
    }
    std::array<Time, 4> args;
    std::array<Scalar, 4> values;
    double at = 0;
    bool all_known = !is_float(e->dtype);
    for (std::size_t k = 0; k < e->args.size(); ++k) {
      args.at(k) = expression(e->args[k]);
      at = std::max(at, args[k].at);
      all_known = all_known && args[k].known && !is_float(e->args[k]->dtype);
      values[k].integer = args[k].known.value_or(0);
    }
    if (all_known) {
      const DType operand = e->args[e->op == Op::select ? 1 : 0]->dtype;
      return known(evaluate(e->op, operand, e->dtype, values.data()).integer);
    }
    if (e->op == Op::select && args[0].known) return args[*args[0].known != 0 ? 1 : 2];
    if (e->op == Op::add || e->op == Op::sub) {
      // With a product it is one operation.
      at = std::max(args[0].operands, args[1].operands);
      if (args[0].is_product || args[1].is_product) --issued_;
    }
    issued_ += operations_of(*e);
    const double start = std::max(at, now_);
    const double end = start + latency(*e);
    const bool is_product = e->op == Op::mul && is_float(e->dtype);
    return {end, is_product ? start : end, is_product, {}};
  }

  Time load(const ExprNode& e) {
    const Time index = expression(e.args[0]);
    double at = std::max(index.at, now_);
    if (is_conditional(e)) {
      const Time condition = expression(e.args[1]);
      if (condition.known && *condition.known == 0) return {};
      at = std::max(at, condition.at);
    }
    if (index.known) {
      const auto array = elements_.find(e.buffer->id);
      if (array != elements_.end()) {
        const auto found = array->second.find(*index.known);
        if (found != array->second.end()) at = std::max(at, found->second.at);
      }
    } else if (!costs_.is_bound) {
      at = std::max(at, latest_);
    }
    if (e.buffer->space == Space::registers || costs_.is_bound) return {at, at, false, {}};
    ++issued_;
    ++requests_;
    at += e.buffer->space == Space::shared ? costs_.load_shared : costs_.load_global;
    loads_ = std::max(loads_, at);
    return {at, at, false, {}};
  }

  double latency(const ExprNode& e) {
    switch (e.op) {
      case Op::div:
      case Op::sqrt:
        return is_float(e.dtype) ? costs_.function : costs_.operation;
      case Op::neg:
      case Op::abs:
      case Op::bitcast:
        return 0;
      default:
        break;
    }
    if (!is_elementary(e.op)) return operation_of(e.args.back()->dtype);
    if (costs_.is_bound) return costs_.function;
    double& depth = functions_[{e.op, e.dtype}];
    if (depth > 0) return depth;
    std::vector<Expr> args;
    for (std::size_t k = 0; k < e.args.size(); ++k) {
      args.push_back(variable({static_cast<int>(k), e.dtype, "x"}));
    }
    return depth = depth_of(arithmetic_of(e.op, args));
  }

  // Of a function's arithmetic.
  double depth_of(const Expr& root) {
    std::unordered_map<const ExprNode*, double> depths;
    for (const Expr& e : post_order(std::span(&root, 1))) {
      double depth = 0;
      for (const Expr& arg : e->args) depth = std::max(depth, depths.at(arg.get()));
      const bool waits = e->op != Op::shortcut || e->args.size() < 3;
      depths[e.get()] = e->args.empty() ? 0 : depth + (waits ? latency(*e) : 0);
    }
    return depths.at(root.get());
  }

  const ChainCosts& costs_;
  const std::function<std::int64_t(const DimAtom&)>& value_of_size_;
  LetValues<Time> lets_;
  std::unordered_map<int, Scalars> scalars_;                                     // by Variable::id
  std::unordered_map<int, std::unordered_map<std::int64_t, Element>> elements_;  // by Buffer::id
  std::map<std::pair<Op, DType>, double> functions_;
  std::vector<double*>* written_ = nullptr;  // in the iteration of a long loop
  std::vector<int> inner_;                   // scalars of a loop of threads
  std::unordered_set<int> shared_;           // others, which all threads accumulate
  double now_ = 0;                           // when the next operation may begin
  double latest_ = 0;                        // when all that is written is there
  double loads_ = 0;                         // the same, of what is on its way from memory
  int issued_ = 0;
  double issued_before_ = 0;
  double requests_ = 0;  // loads of memory, of which a processor begins a warp's in each cycle
  double threads_ = warp;
};

}  // namespace

double chain_of(const Kernel& kernel, const ChainCosts& costs,
                const std::function<std::int64_t(const DimAtom&)>& value_of_size) {
  return Chain(costs, value_of_size).of(place_values(kernel).body);
}

}  // namespace kroton::loop
