#include "compiler/contraction/gpu_windows.h"

#include <algorithm>

#include "compiler/contraction/gpu_thread_tiles.h"
#include "compiler/loop/traverse.h"

namespace kroton {
namespace {

using loop::Op;

// Both hold; null stands for true.
loop::Expr both(const loop::Expr& a, const loop::Expr& b) {
  if (a == nullptr || b == nullptr) return a == nullptr ? b : a;
  return loop::binary(Op::logical_and, a, b);
}

class GpuWindowBuilder final : public GpuThreadTileBuilder {
 public:
  GpuWindowBuilder(const Contraction& contraction, const GpuWindowPlan& plan,
                   const loop::NewBuffer& new_buffer)
      : GpuThreadTileBuilder(contraction, plan.tile, new_buffer),
        windows_(plan),
        whole_(count(plan.whole).constant()) {}

 private:
  Dim slices() const override { return windows_.slices(); }

  // Neighbouring threads read neighbouring columns; else inner elements.
  bool by_columns(bool is_a) const { return !is_a && windows_.columns_are_positions; }

  int held_of(bool is_a) const override {
    const int width = is_a ? plan_.rows : plan_.columns;
    if (by_columns(is_a)) return plan_.depth / (plan_.threads() / width);
    return passes(width, plan_.threads() / gpu_window_lanes) *
           passes(plan_.depth, gpu_window_lanes);
  }
  static int passes(int size, int at_a_time) { return (size + at_a_time - 1) / at_a_time; }

  void begin(const std::vector<Slice>& both_slices, loop::Block& to) override {
    for (const Slice& slice : both_slices) {
      if (by_columns(slice.is_a)) note_what_is_there(slice, to);
    }
  }
  void fetch_first(const std::vector<Slice>& both_slices, const loop::Expr& step,
                   loop::Block& to) override {
    start(step, to);
    fetch_both(both_slices, step, to);
  }
  void fetch_next(const std::vector<Slice>& both_slices, const loop::Expr& step,
                  loop::Block& to) override {
    advance(to);
    fetch_both(both_slices, step, to);
  }

  // An element that a thread brings to shared memory.
  struct Element {
    loop::Expr at;      // row or column of the tile
    loop::Expr k;       // inner element of the slice
    loop::Expr taken;   // position of the axis that is cut, beside the slice's first
    Places whole;       // of the axes that are whole
    loop::Expr held;    // its register
    loop::Expr inside;  // where it is one of the slice; null: always
  };

  template <class Body>
  loop::Stmt over_elements(const Slice& slice, const Body& body) const {
    const loop::Variable t = loop::fresh_variable("t");
    const auto quotient = [&](const loop::Expr& e, std::int64_t by) {
      return loop::binary(Op::floor_div, e, loop::integer(by));
    };
    const auto remainder = [&](const loop::Expr& e, std::int64_t by) {
      return loop::binary(Op::mod, e, loop::integer(by));
    };
    const loop::Expr thread = loop::variable(t);
    Element e;
    if (by_columns(slice.is_a)) {
      // A thread has all of the slice's elements for some positions of the axis that is cut, with
      // a bit each in its mask.
      const std::int64_t windows = windows_.taken / (plan_.threads() / slice.width);
      const loop::Expr group = quotient(thread, slice.width);
      e.at = remainder(thread, slice.width);
      loop::Block elements;
      for (std::int64_t n = 0; n < windows * whole_; ++n) {
        e.taken = group * loop::integer(windows) + loop::integer(n / whole_);
        e.whole = places_of(windows_.whole, loop::integer(n % whole_));
        e.held = loop::integer(n);
        e.k = group * loop::integer(windows * whole_) + e.held;
        for (loop::Stmt& s : body(e)) elements.push_back(std::move(s));
      }
      return threads(t, plan_.threads(), std::move(elements));
    }
    const int at_a_time = plan_.threads() / gpu_window_lanes;
    const loop::Variable i = loop::fresh_variable("i"), j = loop::fresh_variable("j");
    const int deep = passes(plan_.depth, gpu_window_lanes), down = passes(slice.width, at_a_time);
    e.at = loop::variable(i) * loop::integer(at_a_time) + quotient(thread, gpu_window_lanes);
    e.k = loop::variable(j) * loop::integer(gpu_window_lanes) + remainder(thread, gpu_window_lanes);
    e.taken = quotient(e.k, whole_);
    e.whole = places_of(windows_.whole, remainder(e.k, whole_));
    e.held = loop::variable(i) * loop::integer(deep) + loop::variable(j);
    if (plan_.depth % gpu_window_lanes != 0) {
      e.inside = loop::binary(Op::lt, e.k, loop::integer(plan_.depth));
    }
    if (slice.width % at_a_time != 0) {
      e.inside = both(e.inside, loop::binary(Op::lt, e.at, loop::integer(slice.width)));
    }
    return threads(t, plan_.threads(), unrolled(i, down, unrolled(j, deep, body(e))));
  }

  // The operand at an element, but for where the slice is.
  loop::Expr value_of(const Slice& slice, const Element& e) const {
    Places places = e.whole;
    const Places along = places_of(slice.is_a ? c_.rows : c_.columns,
                                   (slice.is_a ? first_row_ : first_column_) + e.at);
    places.insert(places.end(), along.begin(), along.end());
    for (const Axis& axis : c_.inner) {
      if (axis.extent.is_constant(1)) places.push_back({axis.variable, loop::integer(0)});
    }
    return loop::substitute(slice.is_a ? c_.a : c_.b, places);
  }

  // Whether the element's row or column is one of the operand's; null: always.
  loop::Expr is_of_operand(const Slice& slice, const Element& e) const {
    const Dim& size = slice.is_a ? rows_ : columns_;
    if (fits(size, slice.width)) return nullptr;
    return loop::binary(Op::lt, (slice.is_a ? first_row_ : first_column_) + e.at, loop::size(size));
  }

  bool depends_on_slice(const loop::Expr& e) const {
    return loop::depends_on(e, windows_.cut.variable) ||
           std::any_of(windows_.outer.begin(), windows_.outer.end(),
                       [&](const Axis& axis) { return loop::depends_on(e, axis.variable); });
  }

  // The one condition of a value's loads that is the same for all slices; null: there is none, or
  // several.
  loop::Expr lasting_condition(const loop::Expr& value) const {
    loop::Expr found;
    for (const loop::Expr& e : loop::post_order(std::span(&value, 1))) {
      if (e->op != Op::load) continue;
      if (!is_conditional(*e) || depends_on_slice(e->args[1])) return nullptr;
      if (found != nullptr && found != e->args[1]) return nullptr;
      found = e->args[1];
    }
    return found;
  }

  // Padding is the same for every slice: whether an element is in the picture is worked out once.
  void note_what_is_there(const Slice& slice, loop::Block& block) {
    constexpr int most_bits = 31;
    if (int_of(slice.held->size.constant()) > most_bits) return;
    bool has_padding = false;
    const loop::BufferRef mask = new_buffer_("is_there", DType::i64, Dim(1), registers);
    const loop::Stmt noted = over_elements(slice, [&](const Element& e) {
      const loop::Expr condition = lasting_condition(value_of(slice, e));
      has_padding = condition != nullptr;
      const loop::Expr is_there = both(condition, is_of_operand(slice, e));
      if (is_there == nullptr) return loop::Block{};
      return loop::Block{
          loop::Store{mask, loop::integer(0),
                      loop::binary(Op::bit_or, loop::load(mask, loop::integer(0)),
                                   loop::select(is_there, bit(e), loop::integer(0)))}};
    });
    if (!has_padding) return;
    is_there_ = mask;
    block.push_back(loop::Allocate{mask});
    block.push_back(threads(loop::fresh_variable("t"), plan_.threads(),
                            {loop::Store{mask, loop::integer(0), loop::integer(0)}}));
    block.push_back(noted);
  }
  static loop::Expr bit(const Element& e) {
    std::int64_t n = 0;
    loop::is_integer_constant(e.held, n);
    return loop::integer(std::int64_t{1} << n);
  }

  // Where the next slice to be read begins: places on the outer axes, and a run of the axis that is
  // cut, which moves fastest. They are counted: a division for each slice would take as long as
  // many products.
  void start(const loop::Expr& step, loop::Block& to) {
    AxisList axes = windows_.outer;
    axes.push_back(
        {loop::fresh_variable("run"), ceil_div(windows_.cut.extent, Dim(windows_.taken))});
    Places at = places_of(axes, step);
    for (const Axis& axis : axes) {
      const auto found = std::find_if(
          at.begin(), at.end(), [&](const auto& place) { return place.first == axis.variable; });
      const loop::Variable counter = loop::fresh_variable(axis.variable.name);
      to.push_back(loop::Declare{counter, found->second});
      counters_.push_back({counter, axis.extent});
      outer_.emplace_back(axis.variable, loop::variable(counter));
    }
    first_ = outer_.back().second * loop::integer(windows_.taken);
    outer_.pop_back();
  }

  void advance(loop::Block& to) const {
    loop::Expr steps = loop::integer(1);  // or 0, where the faster ones have not come to their ends
    for (std::size_t k = counters_.size(); k-- > 0;) {
      const auto& [counter, extent] = counters_[k];
      if (k == 0) {
        to.push_back(loop::Accumulate{counter, Op::add, steps});
        return;
      }
      const loop::Variable ends = loop::fresh_variable("ends");
      const loop::Expr is_last =
          loop::binary(Op::eq, loop::variable(counter) + loop::integer(1), loop::size(extent));
      to.push_back(loop::Declare{ends, loop::select(is_last, steps, loop::integer(0))});
      to.push_back(
          loop::Accumulate{counter, Op::add, steps - loop::variable(ends) * loop::size(extent)});
      steps = loop::variable(ends);
    }
  }

  // Reads a slice of both operands, of one behind the last nothing.
  void fetch_both(const std::vector<Slice>& both_slices, const loop::Expr& step,
                  loop::Block& to) const {
    const loop::Expr is_one = loop::binary(Op::lt, step, loop::size(slices()));
    for (const Slice& slice : both_slices) to.push_back(fetch(slice, is_one));
  }

  loop::Stmt fetch(const Slice& slice, const loop::Expr& is_one) const {
    const loop::BufferRef mask = by_columns(slice.is_a) ? is_there_ : nullptr;
    return over_elements(slice, [&](const Element& e) {
      const loop::Expr zero = loop::real(0, c_.dtype);
      const loop::Expr at = first_ + e.taken;
      loop::Expr counts = both(is_one, e.inside);  // among what is added up
      if (!fits(windows_.cut.extent, windows_.taken)) {
        counts = both(counts, loop::binary(Op::lt, at, loop::size(windows_.cut.extent)));
      }
      loop::Expr is_there = both(counts, mask ? nullptr : is_of_operand(slice, e));
      if (mask) {
        const loop::Expr noted =
            loop::binary(Op::bit_and, loop::load(mask, loop::integer(0)), bit(e));
        is_there = both(is_there, loop::binary(Op::ne, noted, loop::integer(0)));
      }
      loop::Rewriter guard([&](const loop::Expr& node) {
        if (node->op != Op::load) return node;
        const bool asks = is_conditional(*node) && !mask;
        return loop::load(node->buffer, node->args[0],
                          both(is_there, asks ? node->args[1] : nullptr));
      });
      const loop::Expr value = value_of(slice, e);
      loop::Expr guarded = guard(value);
      if (value->op != Op::load) guarded = loop::select(counts, guarded, zero);
      Places places = outer_;
      places.push_back({windows_.cut.variable, at});
      return loop::Block{loop::Store{slice.held, e.held, loop::substitute(guarded, places)}};
    });
  }

  loop::Stmt to_shared(const Slice& slice) const override {
    return over_elements(slice, [&](const Element& e) {
      loop::Block store{loop::Store{slice.shared, e.k * loop::integer(slice.stride) + e.at,
                                    loop::load(slice.held, e.held)}};
      if (e.inside == nullptr) return store;
      return loop::Block{loop::statement(loop::If{e.inside, std::move(store), {}})};
    });
  }

  const GpuWindowPlan& windows_;
  const std::int64_t whole_;
  // Bit n of a thread: whether its element n of a slice by columns is there, whatever the slice.
  loop::BufferRef is_there_ = nullptr;
  // Where the slice read last begins: the counters, the places along the outer axes, that along the
  // axis which is cut.
  AxisList counters_;
  Places outer_;
  loop::Expr first_;
};

}  // namespace

loop::Kernel build_gpu_windows(const Contraction& contraction, const GpuWindowPlan& plan,
                               const loop::NewBuffer& new_buffer) {
  return GpuWindowBuilder(contraction, plan, new_buffer).run();
}

GpuPartsKernels build_gpu_window_parts(const Contraction& contraction, const GpuWindowPlan& parts,
                                       const loop::NewBuffer& new_buffer) {
  return GpuWindowBuilder(contraction, parts, new_buffer).run_in_parts();
}

}  // namespace kroton
