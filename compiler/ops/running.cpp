#include "compiler/ops/running.h"
#include "compiler/ir/at.h"
#include "compiler/ir/block_context.h"

#include <kroton/cumulative.h>

#include <algorithm>

namespace kroton::ops {

namespace {

using loop::Expr;
using loop::Op;

// The loops of a running operation.
class RunningLoops {
 public:
  RunningLoops(WriteContext& context, const RunningValue& value)
      : context_(context),
        value_(value),
        backwards_(runs_backwards(context.attributes())),
        axis_(context.attributes().axes[0]),
        size_(context.type().shape[at(axis_)]) {}

  // One position after the other.
  void in_order() {
    rows(minimum(size_, 1),
         [&](const Expr& row, const auto& index_of) { put(index_of(row), nullptr); });
    rows(maximum(size_ - Dim(1), 0), [&](const Expr& row, const auto& index_of) {
      put(index_of(row + loop::integer(1)), context_.stored(index_of(row)));
    });
  }

 protected:
  void put(const Index& here, const Expr& before) {
    context_.store(here, value_(context_, here, before));
  }
  Expr value(const Index& here, const Expr& before) { return value_(context_, here, before); }
  // The shape with so many positions along the axis.
  Dims with_positions(const Dim& count) const {
    Dims shape = context_.type().shape;
    shape[at(axis_)] = count;
    return shape;
  }
  // The index with another position along the axis.
  Index with_position(Index index, const Expr& position) const {
    index[at(axis_)] = position;
    return index;
  }
  Expr on_way(const Expr& position) const {
    return backwards_ ? loop::size(size_ - Dim(1)) - position : position;
  }

  WriteContext& context_;
  const RunningValue& value_;
  const bool backwards_;
  const int axis_;
  const Dim size_;
  Dim is_wanted_ = 1;  // or 0: whether positions go one after the other

 private:
  template <class Body>
  void rows(const Dim& count, const Body& body) {
    if (is_wanted_.is_constant(1)) return all_rows(count, body);
    context_.independent_nest({is_wanted_}, [&](const Index&) { all_rows(count, body); });
  }
  template <class Body>
  void all_rows(const Dim& count, const Body& body) {
    const Dims& shape = context_.type().shape;
    context_.nest(Dims(shape.begin(), shape.begin() + axis_), [&](const Index& before) {
      context_.nest({count}, [&](const Index& row) {
        context_.nest(Dims(shape.begin() + axis_ + 1, shape.end()), [&](const Index& behind) {
          body(row[0], [&](const Expr& position) {
            Index index = before;
            index.push_back(on_way(position));
            index.insert(index.end(), behind.begin(), behind.end());
            return index;
          });
        });
      });
    });
  }
};

// The same on a GPU, by blocks of threads or, inside a block that does all, by tiles of positions,
// each a thread's for every line: their own results, then those of groups of tiles, which one
// thread a line brings together; from these what stands before each tile, from where its thread
// goes over the positions once more. The order of operations depends on the size alone.
class RunningTiles : private RunningLoops {
 public:
  RunningTiles(WriteContext& context, const RunningValue& value, const RunningParts& parts)
      : RunningLoops(context, value), parts_(parts), dtype_(context.type().dtype) {
    // Products of factors have room for what a sum may be brought back from.
    factor_dtype_ = is_float(dtype_) ? DType::f64 : dtype_;
    Dim lines = 1;
    for (std::size_t k = 0; k < context.type().shape.size(); ++k) {
      if (k != at(axis_)) lines = lines * context.type().shape[k];
    }
    are_wanted_ = minimum(1, floor_div(size_, few_positions + 1));
    // A block for each line reads it as it lies in memory, however many there are.
    const bool is_last_axis = at(axis_) + 1 == context.type().shape.size();
    if (!is_last_axis || !in_blocks()) {
      are_wanted_ = are_wanted_ * minimum(1, floor_div(many_lines, maximum(lines, 1)));
    }
  }

  void run() {
    is_wanted_ = 1 - are_wanted_;
    if (!is_wanted_.is_constant(0)) in_order();
    if (are_wanted_.is_constant(0)) return;
    if (in_blocks() && run_blocks()) return;
    tiles_ = ceil_div(size_, tile) * are_wanted_;
    groups_ = floor_div(tiles_, tiles_together);
    own_ = results(tiles_);
    before_next_ = results(tiles_).value;
    of_group_ = results(groups_);
    fold_tiles();
    fold_groups();
    fold_line();
    place_starts();
    run_tiles();
  }

 private:
  static constexpr std::int64_t tile = 32;
  static constexpr std::int64_t tiles_together = 64;
  // Up to so many positions one after the other take no longer than further kernels, and more lines
  // are threads enough.
  static constexpr std::int64_t few_positions = 128;
  static constexpr std::int64_t many_lines = 1 << 16;

  using Scratch = WriteContext::Scratch;
  // Of tiles or groups: what they come to, and the product of their factors.
  struct Results {
    Scratch value, factor;
  };

  bool in_blocks() const { return BlockContext::of(context_).makes_kernels(); }
  bool run_blocks() {
    BlockContext::Running how;
    how.axis = axis_;
    how.backwards = backwards_;
    how.wanted = are_wanted_;
    how.op = parts_.op;
    how.value = [&](const Index& here) { return value(here, nullptr); };
    if (parts_.factor)
      how.factor = [&](const Index& here) { return parts_.factor(context_, here); };
    how.factor_dtype = factor_dtype_;
    return BlockContext::of(context_).run(how);
  }

  Results results(const Dim& count) {
    Results made{context_.scratch(dtype_, with_positions(count)), {}};
    if (parts_.factor) made.factor = context_.scratch(factor_dtype_, with_positions(count));
    return made;
  }
  Expr factor(const Index& here) {
    return loop::cast(parts_.factor(context_, here), factor_dtype_);
  }

  // What a part comes to after `before`.
  Expr together(const Expr& before, const Results& of, const Index& part) {
    const Expr own = context_.stored(of.value, part);
    if (!parts_.factor) return loop::binary(parts_.op, before, own);
    const Expr scaled = context_.stored(of.factor, part) * loop::cast(before, factor_dtype_);
    const Expr sum =
        loop::cast(loop::binary(parts_.op, scaled, loop::cast(own, factor_dtype_)), dtype_);
    if (!is_float(dtype_)) return sum;
    // A product that is too large is none of what is 0.
    return loop::select(loop::binary(Op::eq, before, loop::real(0, dtype_)), own, sum);
  }

  // Every line's tiles, or groups.
  void each(const Dim& count,
            const std::function<void(const Index& part, const Expr& number)>& body) {
    context_.independent_nest(with_positions(count),
                              [&](const Index& part) { body(part, part[at(axis_)]); });
  }
  // The others of a run of positions, from `first` up to `count` of them or the end.
  void others(const Expr& first, std::int64_t count, const Dim& end,
              const std::function<void(const Expr& position)>& body) {
    const Expr left = loop::size(end) - first - loop::integer(1);
    const Expr extent = loop::binary(Op::min, loop::integer(count - 1), left);
    context_.loop(extent, count - 1, [&](const Expr& k) { body(first + loop::integer(1) + k); });
  }
  // Where `number` is not 0.
  void unless_first(const Expr& number, const std::function<void()>& body) {
    context_.loop(loop::binary(Op::min, number, loop::integer(1)), 1, [&](const Expr&) { body(); });
  }

  void fold_tiles() {
    each(tiles_, [&](const Index& part, const Expr& number) {
      const Expr first = number * loop::integer(tile);
      const Index start = with_position(part, on_way(first));
      context_.store(own_.value, part, value(start, nullptr));
      if (parts_.factor) context_.store(own_.factor, part, factor(start));
      others(first, tile, size_, [&](const Expr& position) {
        const Index here = with_position(part, on_way(position));
        context_.store(own_.value, part, value(here, context_.stored(own_.value, part)));
        if (parts_.factor) {
          context_.store(own_.factor, part, context_.stored(own_.factor, part) * factor(here));
        }
      });
    });
  }

  void fold_groups() {
    each(groups_, [&](const Index& part, const Expr& number) {
      const Expr first = number * loop::integer(tiles_together);
      const Index start = with_position(part, first);
      context_.store(of_group_.value, part, context_.stored(own_.value, start));
      if (parts_.factor) {
        context_.store(of_group_.factor, part, context_.stored(own_.factor, start));
      }
      others(first, tiles_together, tiles_, [&](const Expr& position) {
        const Index one = with_position(part, position);
        const Expr before = context_.stored(of_group_.value, part);
        context_.store(of_group_.value, part, together(before, own_, one));
        if (!parts_.factor) return;
        context_.store(of_group_.factor, part,
                       context_.stored(of_group_.factor, part) * context_.stored(own_.factor, one));
      });
    });
  }

  // Of the groups up to each one.
  void fold_line() {
    each(minimum(1, groups_), [&](const Index& part, const Expr&) {
      context_.loop(loop::size(maximum(groups_ - Dim(1), 0)), groups_, [&](const Expr& k) {
        const Index next = with_position(part, k + loop::integer(1));
        const Expr before = context_.stored(of_group_.value, with_position(part, k));
        context_.store(of_group_.value, next, together(before, of_group_, next));
      });
    });
  }

  void place_starts() {
    each(ceil_div(tiles_, tiles_together), [&](const Index& part, const Expr& number) {
      const Expr first = number * loop::integer(tiles_together);
      const Index start = with_position(part, first);
      context_.store(before_next_, start, context_.stored(own_.value, start));
      unless_first(number, [&] {
        const Expr before =
            context_.stored(of_group_.value, with_position(part, number - loop::integer(1)));
        context_.store(before_next_, start, together(before, own_, start));
      });
      others(first, tiles_together, tiles_, [&](const Expr& position) {
        const Index one = with_position(part, position);
        const Expr before =
            context_.stored(before_next_, with_position(part, position - loop::integer(1)));
        context_.store(before_next_, one, together(before, own_, one));
      });
    });
  }

  void run_tiles() {
    each(tiles_, [&](const Index& part, const Expr& number) {
      const Expr first = number * loop::integer(tile);
      const Index start = with_position(part, on_way(first));
      put(start, nullptr);
      unless_first(number, [&] {
        put(start, context_.stored(before_next_, with_position(part, number - loop::integer(1))));
      });
      others(first, tile, size_, [&](const Expr& position) {
        put(with_position(part, on_way(position)),
            context_.stored(with_position(part, on_way(position - loop::integer(1)))));
      });
    });
  }

  const RunningParts& parts_;
  const DType dtype_;
  DType factor_dtype_ = DType::f64;
  Dim are_wanted_ = 1, tiles_ = 1, groups_ = 0;
  Results own_, of_group_;
  Scratch before_next_;  // of each tile: what stands before the one behind it
};

}  // namespace

Attributes running_attributes(std::string_view op, int axis, int rank, bool reverse) {
  Attributes attributes;
  attributes.axes = {resolve_axis(axis, rank, op)};
  attributes.integers = {reverse ? 1 : 0};
  return attributes;
}

void running_write(WriteContext& context, const RunningValue& value, const RunningParts& parts) {
  if (context.is_for_gpu()) {
    RunningTiles(context, value, parts).run();
  } else {
    RunningLoops(context, value).in_order();
  }
}

void run_along(const ReferenceContext& c,
               const std::function<void(std::size_t offset, bool is_first)>& step) {
  const auto axis = at(c.attributes.axes[0]);
  const std::vector<std::int64_t>& shape = c.output.shape;
  std::vector<std::int64_t> lines = shape;
  lines[axis] = std::min<std::int64_t>(1, shape[axis]);
  for_each_position(lines, [&](Position position) {
    for (std::int64_t k = 0; k < shape[axis]; ++k) {
      position[axis] = runs_backwards(c.attributes) ? shape[axis] - 1 - k : k;
      step(static_cast<std::size_t>(offset_of(shape, position)), k == 0);
    }
  });
}

Tensor element_before(const Tensor& x, const Attributes& attributes) {
  return roll(x, runs_backwards(attributes) ? -1 : 1, attributes.axes[0]);
}

Tensor is_first_on_way(const Tensor& x, const Attributes& attributes) {
  const int axis = attributes.axes[0];
  const Tensor position = iota(x.shape(), axis);
  if (!runs_backwards(attributes)) return eq(position, 0);
  return eq(position, size_of_dim(x.shape(axis)) - 1);
}

// Of b[i] in y[i] = a[i] * y[i-1] + b[i]: its own, and a[i+1] times that of b[i+1].
Tensor running_cotangent(const Tensor& a, const Tensor& g, const Attributes& attributes) {
  const bool backwards = runs_backwards(attributes);
  const int axis = attributes.axes[0];
  return linear_recurrence(roll(a, backwards ? 1 : -1, axis), g, axis, !backwards);
}

std::vector<Sample> running_samples(RunningFunction function) {
  std::vector<Sample> samples;
  for (const DType dtype : dtypes_of(number)) {
    for (const HostShape& shape : {HostShape{0}, {1}, {17}, {3, 17}, {17, 1}, {2, 3, 5}, {0, 3}}) {
      for (const int axis : {0, -1}) {
        for (const bool reverse : {false, true}) {
          samples.push_back(
              {{spread(dtype, shape, -2, 2)},
               [=](std::span<const Tensor> x) { return function(x[0], axis, reverse); },
               is_float(dtype)});
        }
      }
    }
  }
  return samples;
}

void draw_running(Draw& d, std::string_view name, RunningFunction function, Accept accept) {
  const Slot x = d.operand(accept, 1, 3);
  d.call(std::string(name), function, x, d.axis(x), d.one_in(3));
}

}  // namespace kroton::ops
