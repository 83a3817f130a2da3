// Sums over windows in tiles: for each task some rows of tiles.
#include "compiler/contraction/winograd.h"

#include <algorithm>

#include "compiler/contraction/winograd_builder.h"
#include "compiler/loop/traverse.h"

namespace kroton {

using loop::Op;

namespace winograd {
namespace {

// The sums of the filters' places: a matrix of filters and channels for each product.
loop::Kernel transform_filters(const Contraction& c, const Tiling& t, const loop::BufferRef& sums,
                               const Matrices& matrices, std::int64_t lanes) {
  std::vector<loop::Expr> elements;
  for (const auto& place : places_of(t.window)) {
    Places at;
    for (std::size_t axis = 0; axis < place.size(); ++axis) {
      at.push_back({c.inner[axis + 1].variable, loop::integer(place[axis])});
    }
    elements.push_back(loop::substitute(c.a, at));
  }
  const std::vector<loop::Expr> values = transformed(std::move(elements), t.of_filter);
  loop::Block stores;
  for (std::size_t k = 0; k < values.size(); ++k) {
    const loop::Expr index =
        matrices.index(c.batch, t.products, loop::integer(static_cast<std::int64_t>(k)),
                       loop::variable(c.rows[0].variable), loop::variable(c.inner[0].variable));
    stores.push_back(loop::Store{sums, index, values[k]});
  }
  return over_matrix(c.batch, c.rows[0], c.inner[0], lanes, std::move(stores));
}

// A task transforms what the windows of some rows of tiles see into a panel for each product, goes
// over all of them with all filters, and makes results of the products.
class SumsBuilder : public Builder {
 public:
  SumsBuilder(const Contraction& convolution, const Tiling& tiling, const Contraction& product,
              const loop::Variable& number, const TilePlan& plan, const Matrices& matrices,
              const loop::NewBuffer& new_buffer)
      : Builder(tiling, product, number, plan, new_buffer),
        convolution_(convolution),
        products_(product.stores[0].buffer),
        matrices_(matrices) {
    panel_pitch_ = matrices.columns;
    panel_size_ = Matrices(c_.dtype, c_.inner[0].extent, panel_pitch_).pitch;
  }

 protected:
  void make_buffers() override {
    panel_ = new_buffer_("panel", c_.dtype, panels_size() + Dim(plan_.tile_columns()),
                         loop::Space::worker);
    seen_ = make_lines("seen", t_.seen);
    given_ = make_lines("given", t_.results);
  }

  loop::Block pack_panels(const loop::Expr& first, const loop::Expr& panels) override {
    return each_panel(first, panels,
                      [&](const loop::Expr&, const loop::Expr& column, const Dim& columns) {
                        return transform_pictures(column, columns);
                      });
  }

  loop::Block rows_of_task(const loop::Expr& first, const loop::Expr& panels, const loop::Expr&,
                           const loop::Expr&) override {
    return each_panel(
        first, panels, [&](const loop::Expr&, const loop::Expr& column, const Dim& columns) {
          number_ = loop::variable(product_number_);
          return loop::Block{
              serial(product_number_, loop::integer(t_.products),
                     row_tiles(loop::integer(0), columns, loop::integer(0), loop::size(rows_))),
              make_results(column, columns)};
        });
  }

 private:
  Dim panels_size() const { return Dim(t_.products) * panel_size_; }

  // A loop over the rows of tiles of a panel, with their places.
  template <class Body>
  loop::Stmt over_rows(const loop::Expr& column, const Dim& columns, const Body& body) const {
    const loop::Variable r = loop::fresh_variable("r");
    const loop::Expr first = loop::binary(Op::floor_div, column, loop::size(t_.row_length()));
    const Dim in_panel = Dim(plan_.positions_of_panel), all = t_.row_count();
    const Dim rows =
        columns == panel_columns_ ? in_panel : all - floor_div(all, in_panel) * in_panel;
    return serial(r, loop::size(rows),
                  body(loop::variable(r), row_places(first + loop::variable(r))));
  }

  loop::Expr column_of(const loop::Expr& row, const loop::Expr& tile) const {
    return row * loop::size(t_.row_length()) + tile;
  }

  loop::Block transform_pictures(const loop::Expr& column, const Dim& columns) {
    // What tiles read past the last column, and past the last position.
    loop::Block block{zeros(seen_.buffer, loop::integer(0), seen_.buffer->size)};
    if (columns == panel_columns_) {
      block.push_back(zeros(panel_, loop::size(panels_size()), Dim(plan_.tile_columns())));
      if (const Dim more_columns = panel_pitch_ - columns; !more_columns.is_constant(0)) {
        const loop::Variable f = loop::fresh_variable("f"), k = loop::fresh_variable("k");
        block.push_back(serial(
            f, loop::integer(t_.products),
            {serial(k, loop::size(c_.inner[0].extent),
                    {zeros(panel_,
                           panel_index(loop::variable(f), {loop::variable(k)}, loop::size(columns)),
                           more_columns)})}));
      }
    } else {
      block.push_back(zeros(panel_, loop::integer(0), panel_->size));
    }
    std::vector<std::int64_t> more;
    for (const std::int64_t window : t_.window) more.push_back(window - 1);
    Places first_place;
    for (std::size_t axis = 0; axis < t_.axes(); ++axis) {
      first_place.push_back({convolution_.inner[axis + 1].variable, loop::integer(0)});
    }
    const loop::Expr element = loop::substitute(convolution_.b, first_place);
    block.push_back(over_channels(loop::size(c_.inner[0].extent), [&](const loop::Expr& first,
                                                                      const loop::Expr& count) {
      return loop::Block{over_rows(column, columns, [&](const loop::Expr& r, const Places& places) {
        const auto copy = [&](const loop::Expr& slot) {
          const Places at{{convolution_.inner[0].variable, first + slot}};
          return loop::Block{
              copy_lines(seen_, slot, loop::substitute(element, at), t_.positions, places, more)};
        };
        const auto transform = [&](const loop::Expr& slot) {
          const auto store = [&](const loop::Expr& number, const loop::Expr& tile,
                                 const loop::Expr& value) {
            return loop::Store{panel_, panel_index(number, {first + slot}, column_of(r, tile)),
                               value};
          };
          return loop::Block{transform_lines(seen_, slot, t_.of_elements, store)};
        };
        return loop::Block{over_slots(count, copy), over_slots(count, transform)};
      })};
    }));
    return block;
  }

  // What is stored of the results: those of a row of tiles are put together first.
  loop::Stmt make_results(const loop::Expr& column, const Dim& columns) const {
    return over_channels(loop::size(rows_), [&](const loop::Expr& first, const loop::Expr& count) {
      return loop::Block{over_rows(column, columns, [&](const loop::Expr& r, const Places& places) {
        return loop::Block{over_slots(count,
                                      [&](const loop::Expr& slot) {
                                        return loop::Block{put_together(first + slot, slot, r)};
                                      }),
                           over_slots(count, [&](const loop::Expr& slot) {
                             return store_given(places, first + slot, slot);
                           })};
      })};
    });
  }

  loop::Stmt put_together(const loop::Expr& row, const loop::Expr& slot,
                          const loop::Expr& row_of_tiles) const {
    const loop::Variable tile = loop::fresh_variable("tile");
    std::vector<loop::Expr> products;
    for (std::int64_t k = 0; k < t_.products; ++k) {
      const loop::Expr column = column_of(row_of_tiles, loop::variable(tile));
      products.push_back(loop::load(products_, matrices_.index(loop::integer(k), row, column)));
    }
    std::vector<Matrix> to_results;
    for (const Matrix& matrix : t_.of_results) to_results.push_back(transposed(matrix));
    const std::vector<loop::Expr> values = transformed(std::move(products), to_results);
    const std::vector<std::vector<std::int64_t>> all = places_of(t_.results);
    loop::For lanes = vector_loop(tile, t_.row_length(), 0);
    for (std::size_t k = 0; k < values.size(); ++k) {
      lanes.body.push_back(loop::Store{
          given_.buffer, element_index(given_, slot, all[k], loop::variable(tile)), values[k]});
    }
    return loop::statement(std::move(lanes));
  }

  loop::Block store_given(const Places& places, const loop::Expr& row,
                          const loop::Expr& slot) const {
    const std::size_t last = t_.axes() - 1, pictures = t_.pictures.size();
    Places at(places.begin(), places.begin() + static_cast<std::ptrdiff_t>(pictures));
    at.push_back({c_.rows[0].variable, row});
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
        {convolution_.sum, loop::load(given_.buffer, given_.index(slot, line, loop::variable(w)))});
    loop::For along = vector_loop(w, t_.positions[last].extent, 0);
    for (const loop::Store& store : convolution_.stores) {
      along.body.push_back(loop::Store{store.buffer, loop::substitute(store.index, at),
                                       loop::substitute(store.value, at)});
    }
    loop::Block block{loop::statement(std::move(along))};
    if (inside) block = {loop::statement(loop::If{inside, std::move(block), {}})};
    for (std::size_t axis = last; axis-- > 0;) {
      block = {serial(numbers[axis], loop::integer(t_.results[axis]), std::move(block))};
    }
    return block;
  }

  const Contraction& convolution_;
  const loop::BufferRef products_;
  const Matrices matrices_;  // products: of filters and columns of a panel
  Lines seen_, given_;       // of a channel, of a filter
};

// How many rows of tiles a panel has.
std::int64_t rows_of_panel(const Tiling& t, std::int64_t bytes_of_column, const Machine& machine,
                           std::int64_t lanes) {
  // Enough columns to use what all panels read often, few enough for panels and products to stay
  // in the second cache, if they can.
  constexpr std::int64_t fewest = 96, most = 256;
  // What all panels read costs each as much as some vectors.
  constexpr double of_panel = 1.5;
  const std::int64_t width = t.row_length().constant();
  const std::int64_t columns = std::clamp(machine.second_cache / 2 / bytes_of_column, fewest, most);
  const Dim all = t.row_count();
  std::int64_t best = 1;
  double least = 0;
  const auto cost_of = [&](std::int64_t rows) {
    return static_cast<double>((rows * width + lanes - 1) / lanes) + of_panel;
  };
  for (std::int64_t rows = std::max<std::int64_t>(1, columns / width / 2);
       rows <= std::max<std::int64_t>(1, columns * 3 / 2 / width); ++rows) {
    double cost = cost_of(rows) / static_cast<double>(rows);
    if (all.is_constant() && all.constant() > 0) {
      const std::int64_t panels = all.constant() / rows, rest = all.constant() % rows;
      if (panels < 4 && least != 0) break;  // for threads
      cost = (static_cast<double>(panels) * cost_of(rows) + (rest == 0 ? 0 : cost_of(rest))) /
             static_cast<double>(all.constant());
    }
    if (least == 0 || cost < least) {
      least = cost;
      best = rows;
    }
  }
  return best;
}

}  // namespace

std::vector<loop::Kernel> build_sums(const Contraction& c, const Tiling& t, const Machine& machine,
                                     const loop::NewBuffer& new_buffer) {
  const Dim &filters = c.rows[0].extent, &channels = c.inner[0].extent;
  const Matrices of_filters(c.dtype, filters, channels);
  const loop::BufferRef sums = new_buffer(
      "filters", c.dtype, count(c.batch) * Dim(t.products) * of_filters.pitch, loop::Space::global);

  // One of the products: of its filters' sums with those of the elements in the panel of its
  // number.
  const loop::Variable number = loop::fresh_variable("f");
  Contraction product;
  product.dtype = c.dtype;
  product.batch = c.batch;
  product.rows = c.rows;
  product.inner = {c.inner[0]};
  product.columns = {{loop::fresh_variable("q"), t.row_count() * t.row_length()}};
  product.positions = {{loop::fresh_variable("t"), t.row_count()}};
  product.sum = loop::fresh_variable("sum");
  product.sum.dtype = c.dtype;
  product.cost = c.cost;
  const loop::Expr row = loop::variable(c.rows[0].variable);
  product.a = loop::load(sums, of_filters.index(c.batch, t.products, loop::variable(number), row,
                                                loop::variable(c.inner[0].variable)));
  TilePlan plan = plan_tiles(product, machine);
  narrow_tiles(plan, product, machine);
  plan.columns_of_position = t.row_length();
  const std::int64_t bytes_of_column = t.products * static_cast<std::int64_t>(size_of(c.dtype)) *
                                       (channels.constant() + filters.constant());
  plan.positions_of_panel = rows_of_panel(t, bytes_of_column, machine, plan.lanes);
  plan.inner_run = channels.constant();
  // Rows that begin on a line of the cache.
  const Dim pitch = ceil_div(plan.panel_columns(), plan.lanes) * Dim(plan.lanes);
  const Matrices matrices(c.dtype, filters, pitch);
  const loop::BufferRef products =
      new_buffer("products", c.dtype, Dim(t.products) * matrices.pitch, loop::Space::worker);
  product.stores = {loop::Store{
      products,
      matrices.index(loop::variable(number), row, loop::variable(product.columns[0].variable)),
      loop::variable(product.sum)}};
  loop::Kernel kernel = SumsBuilder(c, t, product, number, plan, matrices, new_buffer).run();
  kernel.work = loop::size(c.work());
  return {transform_filters(c, t, sums, of_filters, plan.lanes), std::move(kernel)};
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
  // To transform costs, for each product of a channel or a filter, as much as some multiply-adds;
  // and more where a row of tiles leaves lanes empty.
  constexpr double of_full_lanes = 18, gain = 1.1;
  const std::int64_t lanes = machine.vector_bytes / static_cast<std::int64_t>(size_of(c.dtype));
  const std::int64_t of_row = (of_positions.back().extent.constant() + results.back() - 1) /
                              static_cast<std::int64_t>(results.back());
  const double of_transform = of_full_lanes *
                              static_cast<double>((of_row + lanes - 1) / lanes * lanes) /
                              static_cast<double>(of_row);
  const auto o = static_cast<double>(filters.constant());
  const auto i = static_cast<double>(channels.constant());
  if (o == 0 || i == 0) return {};
  if (gain * products * (1 + of_transform / o + of_transform / i) > direct) return {};
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
