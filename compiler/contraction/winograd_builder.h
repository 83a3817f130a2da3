// What both forms of winograd.h have in common: rows of tiles, what these see, products.
#pragma once
#include "compiler/contraction/tile_builder.h"
#include "compiler/contraction/winograd.h"
#include "compiler/contraction/winograd_transforms.h"

namespace kroton::winograd {

// How a picture is cut into tiles. Rows of tiles are those of all pictures and of all positions
// along the spatial axes but the last.
struct Tiling {
  Tiling(const AxisList& of_pictures, const AxisList& of_positions,
         const std::vector<int>& results_of_tile);

  std::size_t axes() const { return results.size(); }
  Dim row_count() const { return count(rows); }
  const Dim& row_length() const { return tiles.back(); }
  // Whether the last tile along the axis has as many results as all.
  bool is_whole(std::size_t axis) const {
    return positions[axis].extent == tiles[axis] * Dim(results[axis]);
  }

  AxisList pictures, positions;
  std::vector<std::int64_t> results, seen, window;  // elements of a tile along each axis
  std::vector<Matrix> of_elements, of_filter, of_results;
  std::int64_t products = 1;  // of a tile
  Dims tiles;                 // along each axis
  AxisList rows;
};

// Matrices, one for each product. They are all gone through side by side, so they begin at other
// places of the cache.
struct Matrices {
  Matrices(DType dtype, const Dim& rows, const Dim& columns);
  loop::Expr index(const loop::Expr& number, const loop::Expr& row, const loop::Expr& column) const;
  Dim columns, pitch;  // of a row; from one matrix to the next
};

// The number of the first of so many for each iteration of the batch's axes.
loop::Expr first_of_batch(const AxisList& batch, std::int64_t numbers);

// The same in panels of columns as wide as a tile of results: what a tile reads is one piece.
struct Panels {
  Panels(DType dtype, const Dim& rows, const Dim& columns, std::int64_t width);
  loop::Expr index(const loop::Expr& number, const loop::Expr& panel, const loop::Expr& row,
                   const loop::Expr& column) const {
    return matrices.index(number, panel * loop::size(rows) + row, column);
  }
  Dim all_columns() const { return count * Dim(width); }
  Dim rows, count;  // of a panel; of panels
  std::int64_t width;
  Matrices matrices;  // all panels' rows, one panel after the other
};

// What tiles see, or their results: an element at `positions`, along each of which there are so
// many more than the tiling has.
struct TileOperand {
  loop::Expr element;
  Axis channel;
  AxisList positions;
  std::vector<std::int64_t> more;
};

class Builder : public TileBuilder {
 public:
  Builder(const Tiling& tiling, const Contraction& product, const loop::Variable& product_number,
          const TilePlan& plan, const loop::NewBuffer& new_buffer)
      : TileBuilder(product, plan, new_buffer), t_(tiling), product_number_(product_number) {}

 protected:
  // What a row of tiles has of as many channels as a vector has lanes: a line for each place along
  // the tile's axes but the last, row-major, as long as all its tiles. Memory has one channel after
  // the other, and tiles are computed with the channels as lanes, however few tiles a row has.
  struct Lines {
    loop::BufferRef by_channel, by_place;
    std::vector<std::int64_t> counts;  // elements of a tile along each axis
    Dim pitch, size;                   // of a line, of a channel
  };
  Lines make_lines(const char* name, const std::vector<std::int64_t>& counts) const;
  loop::Expr lanes() const { return loop::integer(plan_.lanes); }

  // Where a row of tiles is, of row_count(): the places of `rows`.
  Places row_places(const loop::Expr& number) const;

  // What `body` makes of the channels that are lanes together, given the first and how many they
  // are.
  template <class Body>
  loop::Stmt over_channels(const loop::Expr& channels, const Body& body) const {
    const loop::Variable block = loop::fresh_variable("block");
    const loop::Expr first = loop::variable(block) * lanes();
    loop::Expr count = lanes();
    if (std::int64_t known = 0;
        !loop::is_integer_constant(channels, known) || known % plan_.lanes != 0) {
      count = loop::binary(loop::Op::min, lanes(), channels - first);
    }
    return serial(
        block,
        loop::binary(loop::Op::floor_div, channels + loop::integer(plan_.lanes - 1), lanes()),
        body(first, count));
  }

  // The lines of `count` channels from `first` on = the operand at `places`' row of tiles; zeros
  // past the last position.
  loop::Stmt copy_lines(const Lines& lines, const TileOperand& operand, const loop::Expr& first,
                        const loop::Expr& count, const Places& places) const;
  // by_place = by_channel, or back.
  loop::Stmt exchange(const Lines& lines, bool to_lanes) const;
  // For each tile of the lines: its elements multiplied by the matrices, handed to `store` by the
  // number of the product, the tile and the lane.
  template <class Store>
  loop::Stmt transform_lines(const Lines& lines, const std::vector<Matrix>& matrices,
                             const Store& store) const {
    return over_tiles([&](const loop::Expr& tile, const loop::Expr& lane) {
      std::vector<loop::Expr> elements;
      for (const auto& place : places_of(lines.counts)) {
        elements.push_back(loop::load(lines.by_place, element_index(lines, place, tile, lane)));
      }
      const std::vector<loop::Expr> values = transformed(std::move(elements), matrices);
      loop::Block stores;
      for (std::size_t k = 0; k < values.size(); ++k) {
        stores.push_back(store(loop::integer(static_cast<std::int64_t>(k)), tile, lane, values[k]));
      }
      return stores;
    });
  }
  // What `body` stores for each tile of a row, and for each lane.
  template <class Body>
  loop::Stmt over_tiles(const Body& body) const {
    const loop::Variable tile = loop::fresh_variable("tile"), lane = loop::fresh_variable("lane");
    loop::For all = vector_loop(lane, Dim(plan_.lanes), plan_.lanes);
    all.body = body(loop::variable(tile), loop::variable(lane));
    return serial(tile, loop::size(t_.row_length()), {loop::statement(std::move(all))});
  }
  // Where an element of a tile is in its lines, of by_place.
  loop::Expr element_index(const Lines& lines, const std::vector<std::int64_t>& place,
                           const loop::Expr& tile, const loop::Expr& lane) const;
  loop::Expr column_of(const loop::Expr& row, const loop::Expr& tile) const {
    return row * loop::size(t_.row_length()) + tile;
  }

  const Tiling& t_;
  const loop::Variable product_number_;
};

// A kernel of these statements for each iteration of the batch's axes, and for each row and column;
// columns are lanes.
loop::Kernel over_matrix(const AxisList& batch, const Axis& row, const Axis& column,
                         std::int64_t lanes, loop::Block body);

// How the products run whose `b` will be in Panels, as wide as a tile of this plan.
TilePlan plan_panels(Contraction product, const Machine& machine);

std::vector<loop::Kernel> build_sums(const Contraction& convolution, const Tiling& tiling,
                                     const Machine& machine, const loop::NewBuffer& new_buffer);
std::vector<loop::Kernel> build_filter_gradient(const Contraction& gradient, const Tiling& tiling,
                                                const Machine& machine,
                                                const loop::NewBuffer& new_buffer);

}  // namespace kroton::winograd
