// Sums over windows in tiles: for each task some rows of tiles.
#include "compiler/contraction/winograd.h"

#include <algorithm>
#include <cmath>

#include "compiler/contraction/winograd_builder.h"
#include "compiler/loop/traverse.h"

namespace kroton {

using loop::Op;

namespace winograd {
namespace {

// The sums of the filters' places: for each product a matrix of channels and filters.
loop::Kernel transform_filters(const Contraction& c, const Tiling& t, const loop::BufferRef& sums,
                               const Panels& panels, std::int64_t lanes) {
  const Axis panel{loop::fresh_variable("panel"), panels.count};
  const Axis column{loop::fresh_variable("o"), Dim(panels.width)};
  loop::Expr filter = loop::variable(panel.variable) * loop::integer(panels.width) +
                      loop::variable(column.variable);
  // Past the last one it is there again.
  if (!(panels.all_columns() == c.rows[0].extent)) {
    filter = loop::binary(Op::min, filter, loop::size(c.rows[0].extent - Dim(1)));
  }
  std::vector<loop::Expr> elements;
  for (const auto& place : places_of(t.window)) {
    Places at{{c.rows[0].variable, filter}};
    for (std::size_t axis = 0; axis < place.size(); ++axis) {
      at.push_back({c.inner[axis + 1].variable, loop::integer(place[axis])});
    }
    elements.push_back(loop::substitute(c.a, at));
  }
  const std::vector<loop::Expr> values = transformed(std::move(elements), t.of_filter);
  loop::Block stores;
  for (std::size_t k = 0; k < values.size(); ++k) {
    const loop::Expr number =
        first_of_batch(c.batch, t.products) + loop::integer(static_cast<std::int64_t>(k));
    stores.push_back(loop::Store{
        sums,
        panels.index(number, loop::variable(panel.variable), loop::variable(c.inner[0].variable),
                     loop::variable(column.variable)),
        values[k]});
  }
  AxisList outer = c.batch;
  outer.push_back(panel);
  return over_matrix(outer, c.inner[0], column, lanes, std::move(stores));
}

// A task transforms what the windows of some rows of tiles see into a matrix for each product, of
// tiles and channels; multiplies each with the filters' matrix; and makes results of the products.
class SumsBuilder : public Builder {
 public:
  // `elements`, `products`: a matrix of tiles and channels, or filters, for each product.
  SumsBuilder(const Contraction& convolution, const Tiling& tiling, const Contraction& product,
              const loop::Variable& number, const loop::Variable& panel, const Dim& panels,
              std::int64_t rows_of_task, const TilePlan& plan, const Matrices& elements,
              const Matrices& products, const loop::NewBuffer& new_buffer)
      : Builder(tiling, product, number, plan, new_buffer),
        convolution_(convolution),
        panel_number_(panel),
        panels_(panels),
        rows_of_task_(rows_of_task),
        elements_(elements),
        products_(products) {}

 protected:
  void make_buffers() override {
    TileBuilder::make_buffers();
    seen_ = make_lines("seen", t_.seen);
    given_ = make_lines("given", t_.results);
  }

  loop::Block tasks() override {
    number_ = loop::integer(0);
    row_shift_ = loop::integer(0);
    const Dim all = t_.row_count(), of_task(rows_of_task_);
    const loop::Variable task = loop::fresh_variable("task");
    const loop::Expr first = loop::variable(task) * loop::integer(rows_of_task_);
    loop::Expr rows = loop::integer(rows_of_task_);
    const bool is_whole = (all - floor_div(all, of_task) * of_task).is_constant(0);
    if (!is_whole) rows = loop::binary(Op::min, rows, loop::size(all) - first);
    // What tiles read past the last position, and squares past the last line.
    loop::Block body{zeros(seen_.by_channel, loop::integer(0), seen_.by_channel->size),
                     zeros(given_.by_place, loop::integer(0), given_.by_place->size)};
    body.push_back(transform_pictures(first, rows));
    if (!is_whole) body.push_back(no_tiles(rows));
    body.push_back(serial(product_number_, loop::integer(t_.products),
                          {serial(panel_number_, loop::size(panels_),
                                  row_tiles(loop::integer(0), panel_columns_, loop::integer(0),
                                            column_of(rows, loop::integer(0))))}));
    body.push_back(make_results(first, rows));
    return {serial(task, loop::size(ceil_div(all, of_task)), std::move(body))};
  }

 private:
  // A loop over the rows of tiles of a task, with their places.
  template <class Body>
  loop::Stmt over_rows(const loop::Expr& first, const loop::Expr& rows, const Body& body) const {
    const loop::Variable r = loop::fresh_variable("r");
    return serial(r, rows, body(loop::variable(r), row_places(first + loop::variable(r))));
  }

  loop::Stmt transform_pictures(const loop::Expr& first, const loop::Expr& rows) const {
    TileOperand pictures{{}, convolution_.inner[0], t_.positions, {}};
    Places first_place;
    for (std::size_t axis = 0; axis < t_.axes(); ++axis) {
      pictures.more.push_back(t_.window[axis] - 1);
      first_place.push_back({convolution_.inner[axis + 1].variable, loop::integer(0)});
    }
    pictures.element = loop::substitute(convolution_.b, first_place);
    return over_channels(loop::size(c_.inner[0].extent), [&](const loop::Expr& channel,
                                                             const loop::Expr& count) {
      return loop::Block{over_rows(first, rows, [&](const loop::Expr& r, const Places& places) {
        const auto store = [&](const loop::Expr& number, const loop::Expr& tile,
                               const loop::Expr& lane, const loop::Expr& value) {
          return loop::Store{c_.a->buffer,
                             elements_.index(number, column_of(r, tile), channel + lane), value};
        };
        return loop::Block{copy_lines(seen_, pictures, channel, count, places),
                           exchange(seen_, true), transform_lines(seen_, t_.of_elements, store)};
      })};
    });
  }

  // What tiles of results read of the last task, which has fewer rows.
  loop::Stmt no_tiles(const loop::Expr& rows) const {
    const loop::Variable number = loop::fresh_variable("f"), tile = loop::fresh_variable("tile");
    const loop::Expr tiles = column_of(rows, loop::integer(0));
    return serial(number, loop::integer(t_.products),
                  {serial(tile, loop::size(rows_) - tiles,
                          {zeros(c_.a->buffer,
                                 elements_.index(loop::variable(number),
                                                 tiles + loop::variable(tile), loop::integer(0)),
                                 elements_.columns)})});
  }

  // What is stored of the results: those of a row of tiles are put together first.
  loop::Stmt make_results(const loop::Expr& first, const loop::Expr& rows) const {
    return over_channels(loop::size(convolution_.rows[0].extent), [&](const loop::Expr& filter,
                                                                      const loop::Expr& count) {
      return loop::Block{over_rows(first, rows, [&](const loop::Expr& r, const Places& places) {
        loop::Block body{put_together(filter, r), exchange(given_, false)};
        for (loop::Stmt& stmt : store_given(places, filter, count)) {
          body.push_back(std::move(stmt));
        }
        return body;
      })};
    });
  }

  loop::Stmt put_together(const loop::Expr& filter, const loop::Expr& row_of_tiles) const {
    std::vector<Matrix> to_results;
    for (const Matrix& matrix : t_.of_results) to_results.push_back(transposed(matrix));
    const std::vector<std::vector<std::int64_t>> all = places_of(t_.results);
    return over_tiles([&](const loop::Expr& tile, const loop::Expr& lane) {
      std::vector<loop::Expr> products;
      for (std::int64_t k = 0; k < t_.products; ++k) {
        products.push_back(loop::load(
            c_.stores[0].buffer,
            products_.index(loop::integer(k), column_of(row_of_tiles, tile), filter + lane)));
      }
      const std::vector<loop::Expr> values = transformed(std::move(products), to_results);
      loop::Block stores;
      for (std::size_t k = 0; k < values.size(); ++k) {
        stores.push_back(
            loop::Store{given_.by_place, element_index(given_, all[k], tile, lane), values[k]});
      }
      return stores;
    });
  }

  loop::Block store_given(const Places& places, const loop::Expr& first,
                          const loop::Expr& count) const {
    const loop::Variable slot = loop::fresh_variable("slot");
    const std::size_t last = t_.axes() - 1, pictures = t_.pictures.size();
    Places at(places.begin(), places.begin() + static_cast<std::ptrdiff_t>(pictures));
    at.push_back({convolution_.rows[0].variable, first + loop::variable(slot)});
    loop::Expr line = loop::integer(0), inside;
    std::vector<loop::Variable> numbers;
    for (std::size_t axis = 0; axis < last; ++axis) {
      numbers.push_back(loop::fresh_variable("j"));
      const loop::Expr j = loop::variable(numbers.back());
      line = line * loop::integer(t_.results[axis]) + j;
      const loop::Expr position =
          places[pictures + axis].second * loop::integer(t_.results[axis]) + j;
      at.push_back({t_.positions[axis].variable, position});
      if (t_.is_whole(axis)) continue;
      const loop::Expr is_one =
          loop::binary(Op::lt, position, loop::size(t_.positions[axis].extent));
      inside = inside ? loop::binary(Op::logical_and, inside, is_one) : is_one;
    }
    const loop::Variable w = loop::fresh_variable("w");
    at.push_back({t_.positions[last].variable, loop::variable(w)});
    at.push_back(
        {convolution_.sum,
         loop::load(given_.by_channel, loop::variable(slot) * loop::size(given_.size) +
                                           line * loop::size(given_.pitch) + loop::variable(w))});
    loop::For along = vector_loop(w, t_.positions[last].extent, 0);
    for (const loop::Store& store : convolution_.stores) {
      along.body.push_back(loop::Store{store.buffer, loop::substitute(store.index, at),
                                       loop::substitute(store.value, at)});
    }
    // Filters within a line.
    loop::Block block{serial(slot, count, {loop::statement(std::move(along))})};
    if (inside) block = {loop::statement(loop::If{inside, std::move(block), {}})};
    for (std::size_t axis = last; axis-- > 0;) {
      block = {serial(numbers[axis], loop::integer(t_.results[axis]), std::move(block))};
    }
    return block;
  }

  const Contraction& convolution_;
  const loop::Variable panel_number_;
  const Dim panels_;  // of filters
  const std::int64_t rows_of_task_;
  const Matrices elements_, products_;
  Lines seen_, given_;  // of channels, of filters
};

// How many rows of tiles a task has.
std::int64_t rows_of_task(const Tiling& t, std::int64_t bytes_of_tile, const Machine& machine) {
  // Enough tiles to use the filters' matrices often, which each task reads; few enough for a task's
  // own to stay in the second cache, if they can.
  constexpr std::int64_t fewest = 128, most = 256;
  constexpr std::int64_t enough_tasks = 4;  // for threads
  const std::int64_t tiles = std::clamp(machine.second_cache / 2 / bytes_of_tile, fewest, most);
  const std::int64_t rows = std::max<std::int64_t>(1, tiles / t.row_length().constant());
  const Dim all = t.row_count();
  if (!all.is_constant() || all.constant() == 0) return rows;
  // As many tasks, of about the same size.
  const std::int64_t tasks = std::clamp((all.constant() + rows - 1) / rows,
                                        std::min(enough_tasks, all.constant()), all.constant());
  return (all.constant() + tasks - 1) / tasks;
}

}  // namespace

// Tiles with the vectors that fill panels best, the widest of them.
TilePlan plan_panels(Contraction product, const Machine& machine) {
  // What b will be: columns side by side.
  const Dim& columns = product.columns[0].extent;
  product.b = loop::load(product.a->buffer,
                         loop::variable(product.inner[0].variable) * loop::size(columns) +
                             loop::variable(product.columns[0].variable));
  TilePlan plan = plan_tiles(product, machine);
  narrow_tiles(plan, product, machine);
  const std::int64_t filled = ceil_div(columns, plan.lanes).constant();
  const auto computed = [&](std::int64_t vectors) {
    return (filled + vectors - 1) / vectors * vectors;
  };
  std::int64_t best = plan.vectors;
  for (std::int64_t vectors = plan.vectors - 1; vectors > 0; --vectors) {
    if (computed(vectors) < computed(best)) best = vectors;
  }
  plan.vectors = static_cast<int>(best);
  plan.b_in_place = true;
  plan.rows_to_pack_from = plan.rows_of_block = plan.rows_of_task = 0;
  plan.panels_of_task = 1;
  return plan;
}

std::vector<loop::Kernel> build_sums(const Contraction& c, const Tiling& t, const Machine& machine,
                                     const loop::NewBuffer& new_buffer) {
  const Dim &filters = c.rows[0].extent, &channels = c.inner[0].extent;
  const loop::Variable number = loop::fresh_variable("f"), panel = loop::fresh_variable("panel");
  const std::int64_t bytes_of_tile = t.products * static_cast<std::int64_t>(size_of(c.dtype)) *
                                     (channels.constant() + filters.constant());
  const std::int64_t rows = rows_of_task(t, bytes_of_tile, machine);
  const Dim tiles = Dim(rows) * t.row_length();

  // One of the products: of what a task's tiles see with the filters' sums.
  Contraction product;
  product.dtype = c.dtype;
  product.batch = c.batch;
  product.rows = {{loop::fresh_variable("t"), tiles}};
  product.columns = {{loop::fresh_variable("q"), filters}};
  product.inner = {c.inner[0]};
  product.sum = loop::fresh_variable("sum");
  product.sum.dtype = c.dtype;
  product.cost = 1;
  const loop::Expr tile = loop::variable(product.rows[0].variable),
                   column = loop::variable(product.columns[0].variable),
                   channel = loop::variable(product.inner[0].variable);
  const std::int64_t lanes = machine.vector_bytes / static_cast<std::int64_t>(size_of(c.dtype));
  const Matrices elements(c.dtype, tiles, ceil_div(channels, lanes) * Dim(lanes));
  product.a = loop::load(
      new_buffer("elements", c.dtype, Dim(t.products) * elements.pitch, loop::Space::worker),
      elements.index(loop::variable(number), tile, channel));
  TilePlan plan = plan_panels(product, machine);
  plan.inner_run = channels.constant();
  const Panels panels(c.dtype, channels, filters, plan.tile_columns());
  product.columns[0].extent = Dim(panels.width);
  const loop::BufferRef sums =
      new_buffer("filters", c.dtype, count(c.batch) * Dim(t.products) * panels.matrices.pitch,
                 loop::Space::global);
  product.b =
      loop::load(sums, panels.index(first_of_batch(c.batch, t.products) + loop::variable(number),
                                    loop::variable(panel), channel, column));
  const Matrices products(c.dtype, tiles, panels.all_columns());
  product.stores = {loop::Store{
      new_buffer("products", c.dtype, Dim(t.products) * products.pitch, loop::Space::worker),
      products.index(loop::variable(number), tile,
                     loop::variable(panel) * loop::integer(panels.width) + column),
      loop::variable(product.sum)}};
  loop::Kernel kernel = SumsBuilder(c, t, product, number, panel, panels.count, rows, plan,
                                    elements, products, new_buffer)
                            .run();
  kernel.work = loop::size(c.work());
  return {transform_filters(c, t, sums, panels, lanes), std::move(kernel)};
}

}  // namespace winograd

std::vector<int> winograd_tiles(const WindowSums& sums, const Machine& machine, int most) {
  const Contraction& c = sums.contraction;
  if (most < 2 || machine.gpu) return {};
  // A gradient's positions are the places of the filter.
  const AxisList& of_positions = sums.filters_are_columns ? c.inner : c.columns;
  const AxisList& of_places = sums.filters_are_columns ? c.rows : c.inner;
  const Dim& filters = (sums.filters_are_columns ? c.columns : c.rows)[0].extent;
  const Dim& channels = of_places[0].extent;
  if (!filters.is_constant() || !channels.is_constant()) return {};
  const auto is_empty = [](const Axis& axis) { return axis.extent.is_constant(0); };
  if (std::any_of(of_positions.begin(), of_positions.end(), is_empty)) return {};
  std::vector<int> results;
  double direct = 1, products = 1;
  for (std::size_t axis = 0; axis < sums.spatial; ++axis) {
    const Dim& window = of_places[of_places.size() - sums.spatial + axis].extent;
    const Dim& positions = of_positions[of_positions.size() - sums.spatial + axis].extent;
    if (!positions.is_constant() || positions.constant() < 1) return {};
    if (window.is_constant(1)) {
      results.push_back(1);
      continue;
    }
    if (!window.is_constant(3)) return {};
    const int of_tile = positions.constant() > 2 ? most : 2;
    const auto tiles = static_cast<double>((positions.constant() + of_tile - 1) / of_tile);
    direct *= 3;
    products *= (of_tile + 2) * tiles / static_cast<double>(positions.constant());
    results.push_back(of_tile);
  }
  if (direct == 1) return {};
  // To transform a vector of channels costs, for each product, as much as some multiply-adds.
  constexpr double of_vector = 8, gain = 1.1;
  const auto lanes =
      static_cast<double>(machine.vector_bytes / static_cast<std::int64_t>(size_of(c.dtype)));
  const auto of_channel = [&](double number) {
    return of_vector * std::ceil(number / lanes) * lanes / number;
  };
  const auto o = static_cast<double>(filters.constant());
  const auto i = static_cast<double>(channels.constant());
  if (o == 0 || i == 0) return {};
  if (gain * products * (1 + of_channel(i) / o + of_channel(o) / i) > direct) return {};
  return results;
}

std::vector<loop::Kernel> build_winograd(const WindowSums& sums, const std::vector<int>& tiles,
                                         const Machine& machine,
                                         const loop::NewBuffer& new_buffer) {
  const Contraction& c = sums.contraction;
  const AxisList& all = sums.filters_are_columns ? c.inner : c.columns;
  const auto first_position = all.end() - static_cast<std::ptrdiff_t>(sums.spatial);
  const winograd::Tiling tiling({all.begin(), first_position}, {first_position, all.end()}, tiles);
  return sums.filters_are_columns ? winograd::build_filter_gradient(c, tiling, machine, new_buffer)
                                  : winograd::build_sums(c, tiling, machine, new_buffer);
}

}  // namespace kroton
