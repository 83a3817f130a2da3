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

Tasks plan_tasks(const Tiling& t, std::int64_t rows) {
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
  tasks.rows_of_block = (rows + tasks.blocks - 1) / tasks.blocks;
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

// One operand of the products.
struct Side {
  loop::Expr from;                 // its elements at positions, of a channel
  Axis channel;                    // the same axis in the products' operand
  std::vector<std::int64_t> more;  // positions along each axis than the tiling has
  std::vector<std::int64_t> counts;
  std::vector<Matrix> matrices;
};

class GradientBuilder : public Builder {
 public:
  GradientBuilder(const Contraction& gradient, const Tiling& tiling, const Contraction& product,
                  const loop::Variable& number, const loop::Variable& part, const TilePlan& plan,
                  const Tasks& tasks, const Side& rows, const Side& columns,
                  const loop::NewBuffer& new_buffer)
      : Builder(tiling, product, number, plan, new_buffer),
        positions_(gradient.inner.end() - static_cast<std::ptrdiff_t>(tiling.axes()),
                   gradient.inner.end()),
        part_of_sums_(part),
        tasks_(tasks),
        sides_{rows, columns} {}

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
         {c_.a->buffer, c_.b->buffer, lines_[0].buffer, lines_[1].buffer}) {
      body.push_back(zeros(buffer, loop::integer(0), buffer->size));
    }
    if (!tasks_.has_one_panel()) body.push_back(no_sums());
    const loop::Variable panel = loop::fresh_variable("panel");
    loop::Block one = transform_rows(loop::variable(panel));
    one.push_back(serial(product_number_, loop::integer(t_.products), add_products()));
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
                       {c_.columns[0].variable, loop::integer(0)}};
    return serial(product_number_, loop::integer(t_.products),
                  {serial(row, rows_of_block_,
                          {zeros(sum.buffer, loop::substitute(sum.index, first), columns_)})});
  }

  // Both operands of the rows of tiles of a panel; zeros for rows that are no more of this part.
  loop::Block transform_rows(const loop::Expr& panel) const {
    loop::Block block;
    for (int side : {0, 1}) {
      const loop::Expr channels = side == 0 ? rows_of_block_ : loop::size(columns_);
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
        inside.else_body = no_row(side, start + first, count, loop::variable(r));
        return loop::Block{
            serial(r, loop::integer(tasks_.rows_of_panel), {loop::statement(std::move(inside))})};
      }));
    }
    return block;
  }

  // Where a row of tiles is in an operand of the products.
  loop::Store store_operand(int side, const loop::Expr& channel, const loop::Expr& number,
                            const loop::Expr& row, const loop::Expr& tile,
                            const loop::Expr& value) const {
    const loop::Expr& operand = side == 0 ? c_.a : c_.b;
    const Places at{{sides_[side].channel.variable, channel},
                    {product_number_, number},
                    {c_.inner[0].variable, row * loop::size(t_.row_length()) + tile}};
    return {operand->buffer, loop::substitute(operand->args[0], at), value};
  }

  loop::Block transform(int side, const Places& places, const loop::Expr& first,
                        const loop::Expr& count, const loop::Expr& row) const {
    const auto copy = [&](const loop::Expr& slot) {
      const Places at{{sides_[side].channel.variable, first + slot}};
      return loop::Block{copy_lines(lines_[side], slot, loop::substitute(sides_[side].from, at),
                                    positions_, places, sides_[side].more)};
    };
    const auto store_all = [&](const loop::Expr& slot) {
      const auto store = [&](const loop::Expr& number, const loop::Expr& tile,
                             const loop::Expr& value) {
        return store_operand(side, first + slot, number, row, tile, value);
      };
      return loop::Block{transform_lines(lines_[side], slot, sides_[side].matrices, store)};
    };
    return {over_slots(count, copy), over_slots(count, store_all)};
  }

  loop::Block no_row(int side, const loop::Expr& first, const loop::Expr& count,
                     const loop::Expr& row) const {
    const loop::Variable number = loop::fresh_variable("f"), tile = loop::fresh_variable("tile");
    return {
        serial(number, loop::integer(t_.products), {over_slots(count, [&](const loop::Expr& slot) {
                 loop::For lanes = vector_loop(tile, t_.row_length(), 0);
                 lanes.body = {store_operand(side, first + slot, loop::variable(number), row,
                                             loop::variable(tile), loop::real(0, c_.dtype))};
                 return loop::Block{loop::statement(std::move(lanes))};
               })})};
  }

  // The products of the block's rows, with some columns at a time.
  loop::Block add_products() {
    const Dim whole = floor_div(columns_, panel_columns_);
    const Dim rest = columns_ - whole * panel_columns_;
    const auto panel = [&](const Dim& columns, const loop::Expr& first) {
      loop::Block block = pack(loop::integer(0), first, columns);
      for (loop::Stmt& stmt : row_tiles(first, columns, first_row_, rows_of_block_)) {
        block.push_back(std::move(stmt));
      }
      return block;
    };
    loop::Block block;
    if (!whole.is_constant(0)) {
      const loop::Variable number = loop::fresh_variable("columns");
      block.push_back(
          serial(number, loop::size(whole),
                 panel(panel_columns_, loop::variable(number) * loop::size(panel_columns_))));
    }
    if (!rest.is_constant(0)) {
      for (loop::Stmt& stmt : panel(rest, loop::size(whole * panel_columns_))) {
        block.push_back(std::move(stmt));
      }
    }
    return block;
  }

  const AxisList positions_;
  const loop::Variable part_of_sums_;  // where the products are added
  const Tasks tasks_;
  const Side sides_[2];  // rows, columns
  Lines lines_[2];
  loop::Expr part_, first_row_, rows_of_block_;  // of the task
};

// The parts' sums, added in order, are the filter's of products: what is stored of its places.
loop::Kernel finish(const Contraction& gradient, const Tiling& t, const Contraction& product,
                    const loop::Variable& part, std::int64_t parts, const loop::Variable& number,
                    std::int64_t lanes) {
  const loop::Store& sum = product.stores[0];
  std::vector<loop::Expr> totals;
  for (std::int64_t f = 0; f < t.products; ++f) {
    loop::Expr total;
    for (std::int64_t p = 0; p < parts; ++p) {
      const loop::Expr one = loop::load(
          sum.buffer,
          loop::substitute(sum.index, {{number, loop::integer(f)}, {part, loop::integer(p)}}));
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
  return over_matrix(gradient.batch, product.rows[0], product.columns[0], lanes, std::move(stores));
}

}  // namespace

std::vector<loop::Kernel> build_filter_gradient(const Contraction& c, const Tiling& t,
                                                const Machine& machine,
                                                const loop::NewBuffer& new_buffer) {
  const loop::Variable number = loop::fresh_variable("f"), part = loop::fresh_variable("part");
  const std::int64_t lanes = machine.vector_bytes / static_cast<std::int64_t>(size_of(c.dtype));

  // What tiles see of the pictures' channels, and what the results' channels multiply it by.
  Side seen{c.a, c.rows[0], {}, t.seen, t.of_elements};
  Side given{c.b, c.columns[0], std::vector<std::int64_t>(t.axes(), 0), t.results, t.of_results};
  Places first_place;
  for (std::size_t axis = 0; axis < t.axes(); ++axis) {
    seen.more.push_back(t.window[axis] - 1);
    first_place.push_back({c.rows[c.rows.size() - t.axes() + axis].variable, loop::integer(0)});
  }
  seen.from = loop::substitute(seen.from, first_place);
  // The sums' columns are the channels that lie closer to each other in what is stored.
  const auto is_closer = [&](const Axis& x, const Axis& y) {
    const auto along = [&](const Axis& axis) {
      const loop::Expr step = loop::stride_of(c.stores[0].index, axis.variable);
      std::int64_t known = 0;
      return step && loop::is_integer_constant(step, known) ? known : 0;
    };
    return along(x) < along(y);
  };
  const bool seen_are_columns = is_closer(seen.channel, given.channel);
  const Side &rows = seen_are_columns ? given : seen, &columns = seen_are_columns ? seen : given;
  const Tasks tasks = plan_tasks(t, rows.channel.extent.constant());
  // Whole squares, which are transposed in registers.
  const Dim tiles = ceil_div(Dim(tasks.rows_of_panel) * t.row_length(), lanes) * Dim(lanes);

  Contraction product;
  product.dtype = c.dtype;
  product.batch = c.batch;
  product.rows = {rows.channel};
  product.columns = {columns.channel};
  product.inner = {{loop::fresh_variable("t"), tiles}};
  product.sum = loop::fresh_variable("sum");
  product.sum.dtype = c.dtype;
  product.cost = 1;
  const auto operand = [&](const char* name, const Axis& axis) {
    const Matrices matrices(c.dtype, axis.extent, tiles);
    const loop::BufferRef buffer =
        new_buffer(name, c.dtype, Dim(t.products) * matrices.pitch, loop::Space::worker);
    return loop::load(buffer, matrices.index(loop::variable(number), loop::variable(axis.variable),
                                             loop::variable(product.inner[0].variable)));
  };
  product.a = operand("rows", rows.channel);
  product.b = operand("columns", columns.channel);
  const Matrices matrices(c.dtype, rows.channel.extent, columns.channel.extent);
  const std::int64_t numbers = tasks.parts * t.products;
  const loop::BufferRef sums = new_buffer(
      "sums", c.dtype, count(c.batch) * Dim(numbers) * matrices.pitch, loop::Space::global);
  const loop::Expr index = matrices.index(
      c.batch, numbers, loop::variable(part) * loop::integer(t.products) + loop::variable(number),
      loop::variable(rows.channel.variable), loop::variable(columns.channel.variable));
  const loop::Expr sum = loop::variable(product.sum);
  product.stores = {
      loop::Store{sums, index, tasks.has_one_panel() ? sum : loop::load(sums, index) + sum}};
  TilePlan plan = plan_tiles(product, machine);
  plan.inner_run = tiles.constant();
  plan.panels_of_task = 1;
  plan.rows_of_task = 0;
  loop::Kernel kernel =
      GradientBuilder(c, t, product, number, part, plan, tasks, rows, columns, new_buffer).run();
  kernel.work = loop::size(c.work());
  return {std::move(kernel), finish(c, t, product, part, tasks.parts, number, lanes)};
}

}  // namespace kroton::winograd
