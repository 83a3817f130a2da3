// The gradient by the filters in tiles: sums, over all tiles, of products of what a tile sees with
// what its results are multiplied by.
#include <algorithm>

#include "compiler/contraction/winograd_builder.h"
#include "compiler/loop/traverse.h"

namespace kroton::winograd {

using loop::Op;

namespace {

// Tasks: parts of the rows of tiles, each with sums of its own, so that the order of additions does
// not depend on the threads; and blocks of the products' rows.
struct Tasks {
  std::int64_t parts = 1, blocks = 1;
  Dim rows_of_part;                // of tiles; the last part may have fewer
  std::int64_t rows_of_panel = 1;  // of tiles
  std::int64_t rows_of_block = 1;  // of products
  bool has_one_panel() const {
    return rows_of_part.is_constant() && rows_of_part.constant() <= rows_of_panel;
  }
};

Tasks plan_tasks(const Tiling& t, std::int64_t rows, std::int64_t lanes) {
  // Tiles that a part has at least, to pay for its sums; rows that a block has, to pay for
  // transforming the other operand once more.
  constexpr std::int64_t wanted = 8, fewest_tiles = 1024, fewest_rows = 128;
  constexpr std::int64_t tiles_of_panel = 128;
  // Of an unknown number of tiles there may be few: blocks are tasks enough, if there are some.
  constexpr std::int64_t enough_blocks = 4;
  Tasks tasks;
  const Dim all = t.row_count();
  const std::int64_t width = t.row_length().constant();
  tasks.parts = all.is_constant()
                    ? std::clamp<std::int64_t>(all.constant() * width / fewest_tiles, 1, wanted)
                : rows >= enough_blocks * fewest_rows ? 1
                                                      : 2;
  tasks.blocks = std::clamp<std::int64_t>(rows / fewest_rows, 1, wanted / tasks.parts);
  // Whole vectors of channels.
  tasks.rows_of_block = ((rows + tasks.blocks - 1) / tasks.blocks + lanes - 1) / lanes * lanes;
  tasks.blocks = (rows + tasks.rows_of_block - 1) / tasks.rows_of_block;
  tasks.rows_of_part = ceil_div(all, tasks.parts);
  tasks.rows_of_panel = std::max<std::int64_t>(1, tiles_of_panel / width);
  if (const Dim& of_part = tasks.rows_of_part; of_part.is_constant() && of_part.constant() > 0) {
    // As many panels, of about the same size.
    const std::int64_t panels =
        (of_part.constant() + tasks.rows_of_panel - 1) / tasks.rows_of_panel;
    tasks.rows_of_panel = (of_part.constant() + panels - 1) / panels;
  }
  return tasks;
}

// One operand of the products: what each tile has of it, multiplied by matrices.
struct Side {
  TileOperand operand;
  std::vector<std::int64_t> counts;  // elements of a tile along each axis
  std::vector<Matrix> matrices;
};

class GradientBuilder : public Builder {
 public:
  // `rows`, `columns`: where the products' operands have tiles and channels; `panel`: which of the
  // columns are computed.
  GradientBuilder(const Tiling& tiling, const Contraction& product, const loop::Variable& number,
                  const loop::Variable& panel, const loop::Variable& part, const TilePlan& plan,
                  const Tasks& tasks, const Side& row_side, const Side& column_side,
                  const Matrices& rows, const Panels& columns, const loop::NewBuffer& new_buffer)
      : Builder(tiling, product, number, plan, new_buffer),
        panel_number_(panel),
        part_of_sums_(part),
        tasks_(tasks),
        sides_{row_side, column_side},
        of_rows_(rows),
        of_columns_(columns) {}

 protected:
  void make_buffers() override {
    TileBuilder::make_buffers();
    for (int side : {0, 1}) lines_[side] = make_lines("lines", sides_[side].counts);
  }

  loop::Block tasks() override {
    number_ = loop::integer(0);
    row_shift_ = loop::integer(0);
    const loop::Variable task = loop::fresh_variable("task");
    const loop::Expr blocks = loop::integer(tasks_.blocks);
    part_ = loop::binary(Op::floor_div, loop::variable(task), blocks);
    first_row_ = (loop::variable(task) - part_ * blocks) * loop::integer(tasks_.rows_of_block);
    rows_of_block_ = loop::integer(tasks_.rows_of_block);
    if (!(rows_ == Dim(tasks_.blocks * tasks_.rows_of_block))) {
      rows_of_block_ = loop::binary(Op::min, rows_of_block_, loop::size(rows_) - first_row_);
    }
    // What is read past the last tile of a panel, and past the last position.
    loop::Block body;
    for (const loop::BufferRef& buffer :
         {c_.a->buffer, c_.b->buffer, lines_[0].by_channel, lines_[1].by_channel}) {
      body.push_back(zeros(buffer, loop::integer(0), buffer->size));
    }
    if (!tasks_.has_one_panel()) body.push_back(no_sums());
    const loop::Variable panel = loop::fresh_variable("panel");
    loop::Block one = transform_rows(loop::variable(panel));
    one.push_back(
        serial(product_number_, loop::integer(t_.products),
               {serial(panel_number_, loop::size(of_columns_.count),
                       row_tiles(loop::integer(0), panel_columns_, first_row_, rows_of_block_))}));
    body.push_back(serial(panel, loop::size(ceil_div(tasks_.rows_of_part, tasks_.rows_of_panel)),
                          std::move(one)));
    return {loop::substitute(
        loop::Block{serial(task, loop::integer(tasks_.parts * tasks_.blocks), std::move(body))},
        {{part_of_sums_, part_}})};
  }

 private:
  loop::Stmt no_sums() const {
    const loop::Store& sum = c_.stores[0];
    const loop::Variable row = loop::fresh_variable("i");
    const Places first{{c_.rows[0].variable, first_row_ + loop::variable(row)},
                       {panel_number_, loop::integer(0)},
                       {c_.columns[0].variable, loop::integer(0)}};
    return serial(product_number_, loop::integer(t_.products),
                  {serial(row, rows_of_block_,
                          {zeros(sum.buffer, loop::substitute(sum.index, first),
                                 of_columns_.all_columns())})});
  }

  // Both operands of the rows of tiles of a panel; zeros for rows that are no more of this part.
  loop::Block transform_rows(const loop::Expr& panel) const {
    loop::Block block;
    for (int side : {0, 1}) {
      const loop::Expr channels =
          side == 0 ? rows_of_block_ : loop::size(sides_[1].operand.channel.extent);
      const loop::Expr start = side == 0 ? first_row_ : loop::integer(0);
      block.push_back(over_channels(channels, [&](const loop::Expr& first,
                                                  const loop::Expr& count) {
        const loop::Variable r = loop::fresh_variable("r");
        const loop::Expr in_part = panel * loop::integer(tasks_.rows_of_panel) + loop::variable(r);
        const loop::Expr row = part_ * loop::size(tasks_.rows_of_part) + in_part;
        loop::If inside;
        inside.condition = loop::binary(
            Op::logical_and, loop::binary(Op::lt, in_part, loop::size(tasks_.rows_of_part)),
            loop::binary(Op::lt, row, loop::size(t_.row_count())));
        inside.then_body =
            transform(side, row_places(row), start + first, count, loop::variable(r));
        inside.else_body = {no_row(side, start + first, loop::variable(r))};
        return loop::Block{
            serial(r, loop::integer(tasks_.rows_of_panel), {loop::statement(std::move(inside))})};
      }));
    }
    return block;
  }

  // An element of an operand of the products: of the channels from one on, which are lanes.
  loop::Store store_operand(int side, const loop::Expr& channel, const loop::Expr& number,
                            const loop::Expr& tile, const loop::Expr& lane,
                            const loop::Expr& value) const {
    if (side == 0) return {c_.a->buffer, of_rows_.index(number, tile, channel + lane), value};
    const loop::Expr width = loop::integer(of_columns_.width);
    const loop::Expr panel = loop::binary(Op::floor_div, channel, width);
    return {c_.b->buffer, of_columns_.index(number, panel, tile, channel - panel * width + lane),
            value};
  }

  loop::Block transform(int side, const Places& places, const loop::Expr& first,
                        const loop::Expr& count, const loop::Expr& row) const {
    const auto store = [&](const loop::Expr& number, const loop::Expr& tile, const loop::Expr& lane,
                           const loop::Expr& value) {
      return store_operand(side, first, number, column_of(row, tile), lane, value);
    };
    return {copy_lines(lines_[side], sides_[side].operand, first, count, places),
            exchange(lines_[side], true),
            transform_lines(lines_[side], sides_[side].matrices, store)};
  }

  loop::Stmt no_row(int side, const loop::Expr& first, const loop::Expr& row) const {
    const loop::Variable number = loop::fresh_variable("f");
    return serial(
        number, loop::integer(t_.products),
        {over_tiles([&](const loop::Expr& tile, const loop::Expr& lane) {
          return loop::Block{store_operand(side, first, loop::variable(number),
                                           column_of(row, tile), lane, loop::real(0, c_.dtype))};
        })});
  }

  const loop::Variable panel_number_;
  const loop::Variable part_of_sums_;  // where the products are added
  const Tasks tasks_;
  const Side sides_[2];  // rows, columns
  const Matrices of_rows_;
  const Panels of_columns_;
  Lines lines_[2];
  loop::Expr part_, first_row_, rows_of_block_;  // of the task
};

// The parts' sums, added in order, are the filter's of products: what is stored of its places.
// `sums` gives those of a part and a product at the places of both channels.
template <class Sums>
loop::Kernel finish(const Contraction& gradient, const Tiling& t, const Axis& row,
                    const Axis& column, std::int64_t parts, std::int64_t lanes, const Sums& sums) {
  std::vector<loop::Expr> totals;
  for (std::int64_t f = 0; f < t.products; ++f) {
    loop::Expr total;
    for (std::int64_t p = 0; p < parts; ++p) {
      const loop::Expr one = sums(loop::integer(p), loop::integer(f));
      total = total ? total + one : one;
    }
    totals.push_back(total);
  }
  std::vector<Matrix> matrices;
  for (const Matrix& matrix : t.of_filter) matrices.push_back(transposed(matrix));
  const std::vector<loop::Expr> values = transformed(std::move(totals), matrices);
  const std::vector<std::vector<std::int64_t>> places = places_of(t.window);
  loop::Block stores;
  for (std::size_t k = 0; k < values.size(); ++k) {
    Places at{{gradient.sum, values[k]}};
    for (std::size_t axis = 0; axis < t.axes(); ++axis) {
      at.push_back({gradient.rows[gradient.rows.size() - t.axes() + axis].variable,
                    loop::integer(places[k][axis])});
    }
    for (const loop::Store& store : gradient.stores) {
      stores.push_back(loop::Store{store.buffer, loop::substitute(store.index, at),
                                   loop::substitute(store.value, at)});
    }
  }
  return over_matrix(gradient.batch, row, column, lanes, std::move(stores));
}

}  // namespace

std::vector<loop::Kernel> build_filter_gradient(const Contraction& c, const Tiling& t,
                                                const Machine& machine,
                                                const loop::NewBuffer& new_buffer) {
  const loop::Variable number = loop::fresh_variable("f"), part = loop::fresh_variable("part"),
                       panel = loop::fresh_variable("panel");
  const std::int64_t lanes = machine.vector_bytes / static_cast<std::int64_t>(size_of(c.dtype));

  // What tiles see of the pictures' channels, and what the results' channels multiply it by.
  const AxisList positions(c.inner.end() - static_cast<std::ptrdiff_t>(t.axes()), c.inner.end());
  Side seen{{c.a, c.rows[0], positions, {}}, t.seen, t.of_elements};
  const Side given{{c.b, c.columns[0], positions, std::vector<std::int64_t>(t.axes(), 0)},
                   t.results,
                   t.of_results};
  Places first_place;
  for (std::size_t axis = 0; axis < t.axes(); ++axis) {
    seen.operand.more.push_back(t.window[axis] - 1);
    first_place.push_back({c.rows[c.rows.size() - t.axes() + axis].variable, loop::integer(0)});
  }
  seen.operand.element = loop::substitute(c.a, first_place);
  // The sums' columns are the channels that lie closer to each other in what is stored.
  const auto is_closer = [&](const Axis& x, const Axis& y) {
    const auto along = [&](const Axis& axis) {
      const loop::Expr step = loop::stride_of(c.stores[0].index, axis.variable);
      std::int64_t known = 0;
      return step && loop::is_integer_constant(step, known) ? known : 0;
    };
    return along(x) < along(y);
  };
  const bool seen_are_columns = is_closer(seen.operand.channel, given.operand.channel);
  const Side &of_rows = seen_are_columns ? given : seen,
             &of_columns = seen_are_columns ? seen : given;
  const Axis &rows = of_rows.operand.channel, &columns = of_columns.operand.channel;
  const Tasks tasks = plan_tasks(t, rows.extent.constant(), lanes);
  const Dim tiles = Dim(tasks.rows_of_panel) * t.row_length();

  Contraction product;
  product.dtype = c.dtype;
  product.batch = c.batch;
  product.rows = {rows};
  product.columns = {{loop::fresh_variable("q"), columns.extent}};
  product.inner = {{loop::fresh_variable("t"), tiles}};
  product.sum = loop::fresh_variable("sum");
  product.sum.dtype = c.dtype;
  product.cost = 1;
  const loop::Expr row = loop::variable(rows.variable),
                   column = loop::variable(product.columns[0].variable),
                   tile = loop::variable(product.inner[0].variable);
  const Matrices row_matrices(c.dtype, tiles, ceil_div(rows.extent, lanes) * Dim(lanes));
  product.a = loop::load(
      new_buffer("rows", c.dtype, Dim(t.products) * row_matrices.pitch, loop::Space::worker),
      row_matrices.index(loop::variable(number), tile, row));
  TilePlan plan = plan_panels(product, machine);
  const Panels panels(c.dtype, tiles, columns.extent, plan.tile_columns());
  product.columns[0].extent = Dim(panels.width);
  product.b = loop::load(
      new_buffer("columns", c.dtype, Dim(t.products) * panels.matrices.pitch, loop::Space::worker),
      panels.index(loop::variable(number), loop::variable(panel), tile, column));
  const Matrices matrices(c.dtype, rows.extent, panels.all_columns());
  const std::int64_t numbers = tasks.parts * t.products;
  const loop::BufferRef sums = new_buffer(
      "sums", c.dtype, count(c.batch) * Dim(numbers) * matrices.pitch, loop::Space::global);
  const auto sum_at = [&](const loop::Expr& p, const loop::Expr& f, const loop::Expr& at) {
    return loop::load(
        sums, matrices.index(first_of_batch(c.batch, numbers) + p * loop::integer(t.products) + f,
                             row, at));
  };
  const loop::Expr earlier = sum_at(loop::variable(part), loop::variable(number),
                                    loop::variable(panel) * loop::integer(panels.width) + column);
  const loop::Expr sum = loop::variable(product.sum);
  product.stores = {
      loop::Store{sums, earlier->args[0], tasks.has_one_panel() ? sum : earlier + sum}};
  plan.inner_run = tiles.constant();
  loop::Kernel kernel = GradientBuilder(t, product, number, panel, part, plan, tasks, of_rows,
                                        of_columns, row_matrices, panels, new_buffer)
                            .run();
  kernel.work = loop::size(c.work());
  return {std::move(kernel), finish(c, t, rows, columns, tasks.parts, lanes,
                                    [&](const loop::Expr& p, const loop::Expr& f) {
                                      return sum_at(p, f, loop::variable(columns.variable));
                                    })};
}

}  // namespace kroton::winograd
