#include "compiler/contraction/scattered_windows.h"

#include <algorithm>

#include "compiler/contraction/winograd_builder.h"
#include "compiler/loop/traverse.h"

namespace kroton {

using loop::Op;

namespace {

// The product of sizes, -1 if they are not known.
std::int64_t known_product(const Dims& sizes) {
  std::int64_t product = 1;
  for (const Dim& size : sizes) {
    if (!size.is_constant()) return -1;
    product *= size.constant();
  }
  return product;
}

Dims sizes_of(AxisList::const_iterator from, AxisList::const_iterator to) {
  Dims sizes;
  for (; from != to; ++from) sizes.push_back(from->extent);
  return sizes;
}

// What a convolution of rows, channels, places and positions has of each.
struct Parts {
  explicit Parts(const WindowSums& sums, const PictureInside& inside) {
    const Contraction& c = sums.contraction;
    const auto spatial = static_cast<std::ptrdiff_t>(sums.spatial);
    positions = {c.columns.end() - spatial, c.columns.end()};
    window = {c.inner.end() - spatial, c.inner.end()};
    places = known_product(sizes_of(window.begin(), window.end()));
    results = known_product(sizes_of(positions.begin(), positions.end()));
    elements = known_product(inside.size);
  }
  AxisList positions, window;
  std::int64_t places, results, elements;
};

// A task takes some pictures: it copies their elements into a panel, multiplies them by the filters
// of one place of the window after the other, and adds up what belongs to a result.
class ScatterBuilder : public TileBuilder {
 public:
  ScatterBuilder(const WindowSums& sums, const PictureInside& inside, const Contraction& product,
                 const loop::Variable& place, const TilePlan& plan,
                 const winograd::Matrices& matrices, const loop::NewBuffer& new_buffer)
      : TileBuilder(product, plan, new_buffer),
        convolution_(sums.contraction),
        inside_(inside),
        parts_(sums, inside),
        place_(place),
        matrices_(matrices) {
    panel_pitch_ = matrices.columns;
    panel_size_ = c_.inner[0].extent * panel_pitch_;
  }

 protected:
  void make_buffers() override {
    panel_ = new_buffer_("panel", c_.dtype, panel_size_ + Dim(plan_.tile_columns()),
                         loop::Space::worker);
  }

  loop::Block pack_panels(const loop::Expr& first, const loop::Expr& panels) override {
    return each_panel(first, panels,
                      [&](const loop::Expr&, const loop::Expr& column, const Dim& columns) {
                        return copy_pictures(column, columns);
                      });
  }

  loop::Block rows_of_task(const loop::Expr& first, const loop::Expr& panels, const loop::Expr&,
                           const loop::Expr&) override {
    return each_panel(
        first, panels, [&](const loop::Expr&, const loop::Expr& column, const Dim& columns) {
          number_ = loop::integer(0);
          return loop::Block{
              serial(place_, loop::integer(parts_.places),
                     row_tiles(loop::integer(0), columns, loop::integer(0), loop::size(rows_))),
              add_up(column, columns)};
        });
  }

 private:
  Dim pictures_in(const Dim& columns) const {
    const Dim &in_panel = plan_.positions_of_panel, &all = c_.positions[0].extent;
    return columns == panel_columns_ ? in_panel : all - floor_div(all, in_panel) * in_panel;
  }
  loop::Expr first_picture(const loop::Expr& column) const {
    return loop::binary(Op::floor_div, column, loop::size(plan_.columns_of_position));
  }

  // Loops over the places of a block of these sizes, the last one's lanes, around what `body` makes
  // of them.
  template <class Body>
  loop::Stmt over_block(const Dims& sizes, const Body& body) const {
    std::vector<loop::Variable> variables;
    std::vector<loop::Expr> at;
    for (std::size_t axis = 0; axis < sizes.size(); ++axis) {
      variables.push_back(loop::fresh_variable("p"));
      at.push_back(loop::variable(variables.back()));
    }
    loop::For lanes = vector_loop(variables.back(), sizes.back(), 0);
    lanes.body = body(at);
    loop::Stmt stmt = loop::statement(std::move(lanes));
    for (std::size_t axis = sizes.size() - 1; axis-- > 0;) {
      stmt = serial(variables[axis], loop::size(sizes[axis]), {std::move(stmt)});
    }
    return stmt;
  }

  loop::Block copy_pictures(const loop::Expr& column, const Dim& columns) {
    // What tiles read past the last column.
    loop::Block block{columns == matrices_.columns
                          ? zeros(panel_, loop::size(panel_size_), Dim(plan_.tile_columns()))
                          : zeros(panel_, loop::integer(0), panel_->size)};
    const loop::Variable channel = loop::fresh_variable("k"), picture = loop::fresh_variable("n");
    loop::Stmt copy = over_block(inside_.size, [&](const std::vector<loop::Expr>& q) {
      Places at{{convolution_.inner[0].variable, loop::variable(channel)},
                {c_.positions[0].variable, first_picture(column) + loop::variable(picture)}};
      loop::Expr place = loop::variable(picture);
      for (std::size_t axis = 0; axis < q.size(); ++axis) {
        at.push_back({parts_.positions[axis].variable, q[axis] + loop::size(inside_.first[axis])});
        at.push_back({parts_.window[axis].variable, loop::integer(0)});
        place = place * loop::size(inside_.size[axis]) + q[axis];
      }
      return loop::Block{
          loop::Store{panel_, panel_index(loop::integer(0), {loop::variable(channel)}, place),
                      loop::substitute(convolution_.b, at)}};
    });
    block.push_back(serial(channel, loop::size(c_.inner[0].extent),
                           {serial(picture, loop::size(pictures_in(columns)), {std::move(copy)})}));
    return block;
  }

  // For each result the products of the elements that its window sees inside the zeros.
  loop::Stmt add_up(const loop::Expr& column, const Dim& columns) const {
    const loop::Variable row = loop::fresh_variable("i"), picture = loop::fresh_variable("n");
    std::vector<std::int64_t> sizes;
    for (const Axis& axis : parts_.window) sizes.push_back(axis.extent.constant());
    const auto places = winograd::places_of(sizes);
    const loop::BufferRef& products = c_.stores[0].buffer;
    loop::Stmt stores = over_block(
        sizes_of(parts_.positions.begin(), parts_.positions.end()),
        [&](const std::vector<loop::Expr>& p) {
          loop::Expr sum;
          for (std::size_t f = 0; f < places.size(); ++f) {
            loop::Expr place = loop::variable(picture), condition;
            for (std::size_t axis = 0; axis < p.size(); ++axis) {
              const loop::Expr q =
                  p[axis] + loop::integer(places[f][axis]) - loop::size(inside_.first[axis]);
              const loop::Expr sees =
                  loop::binary(Op::logical_and, loop::binary(Op::le, loop::integer(0), q),
                               loop::binary(Op::lt, q, loop::size(inside_.size[axis])));
              condition = condition ? loop::binary(Op::logical_and, condition, sees) : sees;
              place = place * loop::size(inside_.size[axis]) + q;
            }
            const loop::Expr one =
                loop::load(products,
                           matrices_.index(loop::integer(static_cast<std::int64_t>(f)),
                                           loop::variable(row), place),
                           condition);
            sum = sum ? sum + one : one;
          }
          Places at{{c_.rows[0].variable, loop::variable(row)},
                    {c_.positions[0].variable, first_picture(column) + loop::variable(picture)},
                    {convolution_.sum, sum}};
          for (std::size_t axis = 0; axis < p.size(); ++axis) {
            at.push_back({parts_.positions[axis].variable, p[axis]});
          }
          loop::Block block;
          for (const loop::Store& store : convolution_.stores) {
            block.push_back(loop::Store{store.buffer, loop::substitute(store.index, at),
                                        loop::substitute(store.value, at)});
          }
          return block;
        });
    return serial(picture, loop::size(pictures_in(columns)),
                  {serial(row, loop::size(rows_), {std::move(stores)})});
  }

  const Contraction& convolution_;
  const PictureInside& inside_;
  const Parts parts_;
  const loop::Variable place_;
  const winograd::Matrices matrices_;  // products: of filters and columns of a panel
};

}  // namespace

bool scatters_windows(const WindowSums& sums, const PictureInside& picture,
                      const Machine& machine) {
  const Contraction& c = sums.contraction;
  if (sums.filters_are_columns || c.rows.size() != 1 || c.columns.size() != sums.spatial + 1) {
    return false;
  }
  const Parts parts(sums, picture);
  const Dim &filters = c.rows[0].extent, &channels = c.inner[0].extent;
  if (parts.places < 2 || parts.results < 1 || parts.elements < 1 || !filters.is_constant() ||
      !channels.is_constant() || filters.is_constant(0) || channels.is_constant(0)) {
    return false;
  }
  // Products of a picture, and to add up one costs as much as so many multiply-adds of a vector.
  constexpr double of_adding = 4, gain = 1.25;
  constexpr std::int64_t most_places = 64;
  const auto of_channels = static_cast<double>(channels.constant());
  const double direct = static_cast<double>(parts.results) * of_channels;
  const double scattered = static_cast<double>(parts.elements) * of_channels +
                           of_adding * static_cast<double>(parts.results);
  const std::int64_t bytes = parts.places * filters.constant() * parts.elements *
                             static_cast<std::int64_t>(size_of(c.dtype));
  return parts.places <= most_places && bytes <= machine.second_cache / 2 &&
         gain * scattered < direct;
}

std::vector<loop::Kernel> build_scattered_windows(const WindowSums& sums,
                                                  const PictureInside& picture,
                                                  const Machine& machine,
                                                  const loop::NewBuffer& new_buffer) {
  const Contraction& c = sums.contraction;
  const Parts parts(sums, picture);
  const Dim &filters = c.rows[0].extent, &channels = c.inner[0].extent;
  const loop::Variable place = loop::fresh_variable("f");
  const loop::Expr row = loop::variable(c.rows[0].variable);
  const loop::Expr channel = loop::variable(c.inner[0].variable);

  // The filters of each place, as matrices.
  const winograd::Matrices of_filters(c.dtype, filters, channels);
  const loop::BufferRef filters_by_place =
      new_buffer("filters", c.dtype, count(c.batch) * Dim(parts.places) * of_filters.pitch,
                 loop::Space::global);
  std::vector<std::int64_t> window;
  for (const Axis& axis : parts.window) window.push_back(axis.extent.constant());
  const auto places = winograd::places_of(window);
  const loop::Expr first = winograd::first_of_batch(c.batch, parts.places);
  loop::Block stores;
  for (std::size_t f = 0; f < places.size(); ++f) {
    Places at;
    for (std::size_t axis = 0; axis < window.size(); ++axis) {
      at.push_back({parts.window[axis].variable, loop::integer(places[f][axis])});
    }
    const loop::Expr number = loop::integer(static_cast<std::int64_t>(f));
    stores.push_back(loop::Store{filters_by_place, of_filters.index(first + number, row, channel),
                                 loop::substitute(c.a, at)});
  }

  Contraction product;
  product.dtype = c.dtype;
  product.batch = c.batch;
  product.rows = c.rows;
  product.inner = {c.inner[0]};
  product.positions = {c.columns[0]};
  product.columns = {{loop::fresh_variable("q"), c.columns[0].extent * Dim(parts.elements)}};
  product.sum = loop::fresh_variable("sum");
  product.sum.dtype = c.dtype;
  product.cost = c.cost;
  product.a =
      loop::load(filters_by_place, of_filters.index(first + loop::variable(place), row, channel));
  TilePlan plan = plan_tiles(product, machine);
  narrow_tiles(plan, product, machine);
  plan.columns_of_position = parts.elements;
  plan.inner_run = channels.constant();
  // Pictures of a panel: as many as fill vectors, while their products stay in the cache.
  const std::int64_t bytes = parts.places * filters.constant() * parts.elements *
                             static_cast<std::int64_t>(size_of(c.dtype));
  constexpr std::int64_t most_columns = 256;
  double least = 0;
  for (std::int64_t pictures = 1; pictures == 1 || (pictures * parts.elements <= most_columns &&
                                                    pictures * bytes <= machine.second_cache / 2);
       ++pictures) {
    const std::int64_t columns = pictures * parts.elements;
    const double cost = static_cast<double>((columns + plan.lanes - 1) / plan.lanes + 1) /
                        static_cast<double>(columns);
    if (least != 0 && cost >= least) continue;
    least = cost;
    plan.positions_of_panel = pictures;
  }
  const Dim pitch = ceil_div(plan.panel_columns(), plan.lanes) * Dim(plan.lanes);
  const winograd::Matrices matrices(c.dtype, filters, pitch);
  const loop::BufferRef products =
      new_buffer("products", c.dtype, Dim(parts.places) * matrices.pitch, loop::Space::worker);
  product.stores = {loop::Store{
      products,
      matrices.index(loop::variable(place), row, loop::variable(product.columns[0].variable)),
      loop::variable(product.sum)}};
  loop::Kernel kernel =
      ScatterBuilder(sums, picture, product, place, plan, matrices, new_buffer).run();
  kernel.work = loop::size(c.work());
  return {winograd::over_matrix(c.batch, c.rows[0], c.inner[0], plan.lanes, std::move(stores)),
          std::move(kernel)};
}

}  // namespace kroton
