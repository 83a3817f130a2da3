// Vectors hold one element of as many rows as they have lanes, so that a compare-exchange of two
// vectors is one minimum and one maximum, and nothing ever moves between lanes. 16 elements are
// sorted in registers (Batcher's network); sorted runs are merged two by two as in Batcher's
// bitonic sort, of which one pass over memory takes four levels: it loads 16 vectors, exchanges,
// and stores them in another place. The first of a merge's levels compares an element with its
// mirror image, so that the smaller one always comes first: elements beyond the row count as the
// highest, stay where they are, and need not be looked at but for the last few.
//
// Of rows whose length the call tells, up to 4 and 8 elements are sorted by a network of their own,
// and the levels of longer ones are loops: a merge is a pass of four levels and
// one or three more, whose distances it looks up by its number. Blocks are whole, and there is room
// for them.
//
// Rows go in groups, each through all passes while it is in a cache. A task has room for one group,
// and goes through its share of the groups.
#include "compiler/ops/sort_network.h"

#include <algorithm>
#include <array>
#include <utility>

#include "compiler/ops/sort_keys.h"
#include "compiler/ops/tasks.h"

namespace kroton::ops {
namespace {

using loop::Expr;
using loop::Op;
using Element = NetworkForm::Element;
using Pairs = std::vector<std::pair<std::int64_t, std::int64_t>>;

// By the parts of an element: of long rows the code takes long to compile.
constexpr std::int64_t longest = 4096, longest_of_two = 2048;
// Fewer rows than that leave most lanes empty.
constexpr std::int64_t fewest_rows = 4;
constexpr std::int64_t vector_bytes = 64;
// Levels of one pass: 16 vectors fit the registers.
constexpr int most_levels = 4;
// Of the first pass over short rows whose length the call tells.
constexpr int fewest_levels = 2;
constexpr std::int64_t most_vectors = 1 << most_levels;
// Of so many elements for each of the first ones that are wanted; of longer rows it is less work to
// look for these. The least number of passes sorts as many as the second, where the call tells.
constexpr std::int64_t of_each_first = 32, longest_for_first = 256;
// Of runs that begin with so many elements, until there are `longest`.
constexpr int most_merges = 8;
static_assert(most_vectors << most_merges == longest);

// Batcher's odd-even merge sort.
Pairs sorting_pairs(std::int64_t n) {
  Pairs pairs;
  for (std::int64_t p = 1; p < n; p *= 2) {
    for (std::int64_t k = p; k >= 1; k /= 2) {
      for (std::int64_t j = k % p; j + k < n; j += 2 * k) {
        for (std::int64_t i = j; i < std::min(j + k, n - k); ++i) {
          if (i / (2 * p) == (i + k) / (2 * p)) pairs.emplace_back(i, i + k);
        }
      }
    }
  }
  return pairs;
}

// The levels of a bitonic merge, of which the first may be mirrored.
Pairs merging_pairs(std::int64_t n, bool mirrored) {
  Pairs pairs;
  for (std::int64_t apart = n / 2; apart >= 1; apart /= 2) {
    const bool mirror = mirrored && apart == n / 2;
    for (std::int64_t i = 0; i < n; ++i) {
      if ((i & apart) == 0) pairs.emplace_back(i, mirror ? n - 1 - i : i + apart);
    }
  }
  return pairs;
}

class Network {
 public:
  Network(WriteContext& context, const Dims& shape, const NetworkForm& form)
      : context_(context),
        form_(form),
        outer_(shape.begin(), shape.end() - 2),
        rows_(shape[shape.size() - 2]),
        length_(shape.back()),
        size_(length_.is_constant() ? length_.constant() : 0),
        lanes_(vector_bytes / size_of(form.dtype)) {
    while (padded_ < size_) padded_ *= 2;
    // The least power of two that is no less is below twice as much.
    room_ = length_.is_constant() ? Dim(padded_) : 2 * length_ + most_vectors;
  }

  // `runs`: 1, or 0 for nothing.
  void run(const Dim& runs) {
    const Tasks tasks(context_, outer_, runs * ceil_div(rows_, lanes_));
    for (int k = 0; k < form_.parts; ++k) {
      from_.push_back(tasks.scratch(form_.dtype, {room_, lanes_}));
      to_.push_back(tasks.scratch(form_.dtype, {room_, lanes_}));
    }
    const auto fill = [&](const Index& task) {
      task_ = task;
      fill_end();
    };
    tasks.run(room_ == length_ ? nullptr : std::function<void(const Index&)>(fill),
              [&](const Index& task, const Index& outer, const Expr& group) {
                task_ = task;
                outer_index_ = outer;
                sort_group(group * whole(lanes_));
              });
  }

 private:
  // What stands beyond the rows, at both places.
  void fill_end() {
    const auto highest = static_cast<std::int64_t>(highest_of(form_.dtype));
    context_.independent_nest({room_ - length_, lanes_}, [&](const Index& at) {
      for (const auto* planes : {&from_, &to_}) {
        for (const WriteContext::Scratch plane : *planes) {
          context_.store(plane, in(task_, at[0] + loop::size(length_), at[1]),
                         loop::integer(highest, form_.dtype));
        }
      }
    });
  }

  Index row(const Expr& number) const { return in(outer_index_, number); }
  Element loaded(const Expr& i, const Expr& lane) {
    Element element;
    for (const auto plane : from_) element.push_back(context_.stored(plane, in(task_, i, lane)));
    return element;
  }
  void place(const std::vector<WriteContext::Scratch>& planes, const Expr& i, const Expr& lane,
             const Element& element) {
    for (std::size_t k = 0; k < planes.size(); ++k) {
      context_.store(planes[k], in(task_, i, lane), element[k]);
    }
  }

  void sort_group(const Expr& first) {
    in_and_out(first, false);
    if (!length_.is_constant()) {
      sort_any_length();
      in_and_out(first, true);
      return;
    }
    pass(most_levels, 1, false, sorting_pairs(most_vectors));
    int levels = most_levels;
    for (std::int64_t sorted = most_vectors; sorted < size_; sorted *= 2) {
      ++levels;
      pass(most_levels, sorted / (most_vectors / 2), true, merging_pairs(most_vectors, true));
      int left = levels - most_levels;
      for (int passes = (left + most_levels - 1) / most_levels; passes > 0; --passes) {
        const int now = (left + passes - 1) / passes;
        left -= now;
        const std::int64_t vectors = std::int64_t{1} << now;
        pass(now, std::int64_t{1} << left, false, merging_pairs(vectors, false));
      }
    }
    in_and_out(first, true);
  }

  // The rows of the group from `first` on, of which there may be fewer than lanes.
  void in_and_out(const Expr& first, bool out) {
    const auto one = [&](const Expr& i, const Expr& lane) {
      if (out) {
        form_.store(row(first + lane), i, loaded(i, lane));
      } else {
        place(from_, i, lane, form_.load(row(first + lane), i));
      }
    };
    const Dim stored = form_.count ? Dim(*form_.count) : length_;
    const Expr there = loop::size(rows_) - first;
    const Expr is_full = loop::cast(loop::binary(Op::le, whole(lanes_), there), DType::i64);
    context_.loop(is_full, 1, [&](const Expr&) {
      if (out) {
        context_.independent_nest({lanes_, stored}, [&](const Index& at) { one(at[1], at[0]); });
      } else {
        context_.independent_nest({length_, lanes_}, [&](const Index& at) { one(at[0], at[1]); });
      }
    });
    if (rows_.is_constant() && rows_.constant() % lanes_ == 0) return;
    context_.loop((whole(1) - is_full) * there, lanes_, [&](const Expr& lane) {
      context_.independent_nest({out ? stored : length_},
                                [&](const Index& at) { one(at[0], lane); });
    });
  }

  // The first runs, of 16 elements, or all of the row where it has no more than 8 or 4.
  void sort_first_runs() {
    Dim taken = 0;
    for (int levels = fewest_levels; levels <= most_levels; ++levels) {
      const std::int64_t vectors = std::int64_t{1} << levels;
      const Dim fits =
          levels == most_levels ? Dim(1) : 1 - minimum(floor_div(length_, vectors + 1), 1);
      context_.loop(loop::size(fits - taken), 1, [&](const Expr&) {
        exchange_all(levels, whole(1), 1, false, sorting_pairs(vectors));
      });
      taken = fits;
    }
    std::swap(from_, to_);
  }

  void sort_any_length() {
    sort_first_runs();
    Dim merges = 0;
    for (int m = 0; m < most_merges; ++m) {
      merges = merges + minimum(floor_div(length_ - 1, most_vectors << m), 1);
    }
    context_.loop(loop::size(merges), most_merges, [&](const Expr& merge) {
      // Of the levels that a merge has, a pass takes four, and these take the rest, where a
      // distance is not 0. An even number of passes comes back to where it began.
      using Distances = std::array<std::int64_t, most_merges>;
      const auto rest = [&](const std::vector<std::pair<int, Distances>>& choices) {
        for (const auto& [levels, distances] : choices) {
          exchange_all(levels, looked_up(merge, distances),
                       *std::max_element(distances.begin(), distances.end()), false,
                       merging_pairs(std::int64_t{1} << levels, false));
        }
        std::swap(from_, to_);
      };
      exchange_all(most_levels, looked_up(merge, Distances{2, 4, 8, 16, 32, 64, 128, 256}), 256,
                   true, merging_pairs(most_vectors, true));
      std::swap(from_, to_);
      rest({{1, {1, 0, 0, 0, 0, 0, 0, 0}},
            {2, {0, 1, 0, 0, 0, 0, 0, 0}},
            {3, {0, 0, 1, 0, 4, 0, 0, 0}},
            {4, {0, 0, 0, 1, 0, 4, 8, 16}}});
      if (form_.count) return;
      rest({{1, {0, 0, 0, 0, 2, 2, 0, 0}}, {2, {0, 0, 0, 0, 0, 0, 2, 4}}});
      rest({{1, {0, 0, 0, 0, 1, 1, 1, 0}}, {2, {0, 0, 0, 0, 0, 0, 0, 1}}});
    });
  }

  static Expr looked_up(const Expr& at, const std::array<std::int64_t, most_merges>& values) {
    Expr result = whole(values.back());
    for (std::size_t k = values.size() - 1; k-- > 0;) {
      result = loop::select(loop::binary(Op::eq, at, whole(static_cast<std::int64_t>(k))),
                            whole(values[k]), result);
    }
    return result;
  }

  // The same of all whole blocks, for a distance that is at most `most`; nothing where it is 0.
  void exchange_all(int levels, const Expr& step, std::int64_t most, bool mirrored,
                    const Pairs& pairs) {
    const std::int64_t vectors = std::int64_t{1} << levels;
    const Expr span = loop::binary(Op::max, step, whole(1)) * whole(vectors);
    const Expr blocks = loop::binary(Op::floor_div, loop::size(length_) + span - whole(1), span);
    // Blocks inside: vectors next to each other would be one loop with their lanes, of unknown
    // length.
    context_.loop(step, most, [&](const Expr& inside) {
      context_.loop(blocks, ceil_div(length_, vectors), [&](const Expr& block) {
        context_.independent_nest({lanes_}, [&](const Index& lane) {
          exchange_at(block * span, step, inside, lane[0], vectors, vectors, mirrored, pairs);
        });
      });
    });
  }

  // Exchanges in groups of 2^levels vectors that stand `step` apart. With `mirrored` the upper half
  // of a group stands where the lower half does if one counts from the end.
  void pass(int levels, std::int64_t step, bool mirrored, const Pairs& pairs) {
    const std::int64_t vectors = std::int64_t{1} << levels, span = step * vectors;
    const std::int64_t whole_ones = size_ / span, rest = size_ % span;
    exchange(0, whole_ones, step, vectors, vectors, mirrored, pairs);
    exchange(whole_ones, rest == 0 ? 0 : 1, step, vectors, (rest + step - 1) / step, mirrored,
             pairs);
    std::swap(from_, to_);
  }

  // Of which the first `there` vectors are looked at.
  void exchange(std::int64_t first, std::int64_t blocks, std::int64_t step, std::int64_t vectors,
                std::int64_t there, bool mirrored, const Pairs& pairs) {
    if (blocks == 0) return;
    context_.independent_nest({blocks, step, lanes_}, [&](const Index& at) {
      exchange_at((at[0] + whole(first)) * whole(step * vectors), whole(step), at[1], at[2],
                  vectors, there, mirrored, pairs);
    });
  }

  // Of one group: the block begins at `start`, and the group's first vector `inside` behind that.
  void exchange_at(const Expr& start, const Expr& step, const Expr& inside, const Expr& lane,
                   std::int64_t vectors, std::int64_t there, bool mirrored, const Pairs& pairs) {
    std::vector<Expr> places;
    std::vector<Element> elements;
    for (std::int64_t t = 0; t < there; ++t) {
      const bool is_mirrored = mirrored && t >= vectors / 2;
      const Expr behind = is_mirrored ? step - whole(1) - inside : inside;
      places.push_back(start + whole(t) * step + behind);
      elements.push_back(loaded(places.back(), lane));
    }
    for (const auto& [a, b] : pairs) {
      if (b >= there) continue;
      order(elements[static_cast<std::size_t>(a)], elements[static_cast<std::size_t>(b)]);
    }
    for (std::size_t t = 0; t < places.size(); ++t) place(to_, places[t], lane, elements[t]);
  }

  void order(Element& a, Element& b) const {
    if (!form_.is_before) {
      const Expr low = loop::binary(Op::min, a[0], b[0]);
      b[0] = loop::binary(Op::max, a[0], b[0]);
      a[0] = low;
      return;
    }
    const Expr turned = form_.is_before(b, a);
    for (std::size_t k = 0; k < a.size(); ++k) {
      const Expr low = loop::select(turned, b[k], a[k]);
      b[k] = loop::select(turned, a[k], b[k]);
      a[k] = low;
    }
  }

  WriteContext& context_;
  const NetworkForm& form_;
  const Dims outer_;
  const Dim rows_;
  const Dim length_;
  const std::int64_t size_, lanes_;  // size_: the length if it is known
  std::int64_t padded_ = most_vectors;
  Dim room_;  // of a row
  std::vector<WriteContext::Scratch> from_, to_;
  Index task_, outer_index_;
};

}  // namespace

NetworkForm network_of_positions(WriteContext& context, bool descending) {
  const SortKeys keys(context.input_type(0).dtype);
  NetworkForm form;
  form.dtype = DType::i64;
  form.parts = keys.packed ? 1 : 2;
  form.load = [&context, keys, descending](const Index& row, const Expr& i) {
    const Expr key = keys.key(context.input(0, in(row, i)), i, descending);
    return keys.packed ? Element{key} : Element{key, i};
  };
  if (!keys.packed) {
    form.is_before = [keys](const Element& b, const Element& a) {
      return keys.is_before(b[0], b[1], a[0], a[1]);
    };
  }
  form.store = [&context, keys](const Index& row, const Expr& i, const Element& element) {
    context.store(in(row, i), keys.packed ? keys.position(element[0]) : element[1]);
  };
  return form;
}

namespace {

// 1 for rows of 2 to `known` elements, up to `free` where the call tells how many.
Dim suits(const Dims& shape, std::int64_t known, std::int64_t free) {
  if (shape.size() < 2) return 0;
  const Dim& size = shape.back();
  const Dim& rows = shape[shape.size() - 2];
  if (rows.is_constant() && rows.constant() < fewest_rows) return 0;
  if (!size.is_constant()) {
    const Dim are_many = minimum(floor_div(rows, fewest_rows), 1);
    return are_many * (1 - minimum(floor_div(size, free + 1), 1));
  }
  return size.constant() >= 2 && size.constant() <= known ? 1 : 0;
}

}  // namespace

Dim suits_network(const Dims& shape, int parts) {
  return suits(shape, parts == 1 ? longest : longest_of_two, longest);
}

Dim suits_network_of_first(const Dims& shape, std::int64_t count) {
  const std::int64_t most = of_each_first * count;
  return suits(shape, std::min(most, longest_of_two), std::min(most, longest_for_first));
}

void sort_by_network(WriteContext& context, const Dims& shape, const NetworkForm& form,
                     const Dim& runs) {
  Network(context, shape, form).run(runs);
}

}  // namespace kroton::ops
