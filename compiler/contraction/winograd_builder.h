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
  // An element of a buffer of so many for each iteration of the batch's axes.
  loop::Expr index(const AxisList& batch, std::int64_t numbers, const loop::Expr& number,
                   const loop::Expr& row, const loop::Expr& column) const;
  Dim columns, pitch;  // of a row; from one matrix to the next
};

class Builder : public TileBuilder {
 public:
  Builder(const Tiling& tiling, const Contraction& product, const loop::Variable& product_number,
          const TilePlan& plan, const loop::NewBuffer& new_buffer)
      : TileBuilder(product, plan, new_buffer), t_(tiling), product_number_(product_number) {}

 protected:
  // What a row of tiles has of some channels, each in a slot: a line for each place along the
  // tile's axes but the last, row-major, as long as all its tiles.
  struct Lines {
    loop::BufferRef buffer;
    std::vector<std::int64_t> counts;  // elements of a tile along each axis
    Dim pitch, size;                   // of a line, of a slot
    loop::Expr index(const loop::Expr& slot, const loop::Expr& line, const loop::Expr& at) const {
      return slot * loop::size(size) + line * loop::size(pitch) + at;
    }
  };
  Lines make_lines(const char* name, const std::vector<std::int64_t>& counts) const;

  // Where a row of tiles is, of row_count(): the places of `rows`.
  Places row_places(const loop::Expr& number) const;

  // What `body` makes of some channels at a time, given the first and how many they are. First one
  // thing is done with all of them, then another, which reads what the first has stored: it waits
  // for stores on their way to the cache unless others came in between.
  template <class Body>
  loop::Stmt over_channels(const loop::Expr& channels, const Body& body) const {
    const loop::Variable block = loop::fresh_variable("block");
    const loop::Expr slots = loop::integer(slot_count);
    const loop::Expr first = loop::variable(block) * slots;
    loop::Expr count = slots;
    if (std::int64_t known = 0;
        !loop::is_integer_constant(channels, known) || known % slot_count != 0) {
      count = loop::binary(loop::Op::min, slots, channels - first);
    }
    return serial(
        block, loop::binary(loop::Op::floor_div, channels + loop::integer(slot_count - 1), slots),
        body(first, count));
  }
  template <class Body>
  static loop::Stmt over_slots(const loop::Expr& count, const Body& body) {
    const loop::Variable slot = loop::fresh_variable("slot");
    return serial(slot, count, body(loop::variable(slot)));
  }

  // The slot's lines = the operand at the positions of `places`' row of tiles, of which there are
  // so many more than the tiling has: zeros past the last.
  loop::Stmt copy_lines(const Lines& lines, const loop::Expr& slot, const loop::Expr& operand,
                        const AxisList& positions, const Places& places,
                        const std::vector<std::int64_t>& more) const;
  // For each tile of the lines: its elements multiplied by the matrices, handed to `store` by the
  // number of the product.
  template <class Store>
  loop::Stmt transform_lines(const Lines& lines, const loop::Expr& slot,
                             const std::vector<Matrix>& matrices, const Store& store) const {
    const loop::Variable tile = loop::fresh_variable("tile");
    const std::vector<loop::Expr> values =
        transformed(elements_of(lines, slot, loop::variable(tile)), matrices);
    loop::For lanes = vector_loop(tile, t_.row_length(), 0);
    for (std::size_t k = 0; k < values.size(); ++k) {
      lanes.body.push_back(
          store(loop::integer(static_cast<std::int64_t>(k)), loop::variable(tile), values[k]));
    }
    return loop::statement(std::move(lanes));
  }
  std::vector<loop::Expr> elements_of(const Lines& lines, const loop::Expr& slot,
                                      const loop::Expr& tile) const;
  // Where an element of a tile is in its lines.
  loop::Expr element_index(const Lines& lines, const loop::Expr& slot,
                           const std::vector<std::int64_t>& place, const loop::Expr& tile) const;

  static constexpr std::int64_t slot_count = 8;
  const Tiling& t_;
  const loop::Variable product_number_;
};

// A kernel of these statements for each iteration of the batch's axes, and for each row and column;
// columns are lanes.
loop::Kernel over_matrix(const AxisList& batch, const Axis& row, const Axis& column,
                         std::int64_t lanes, loop::Block body);

std::vector<loop::Kernel> build_sums(const Contraction& convolution, const Tiling& tiling,
                                     const Machine& machine, const loop::NewBuffer& new_buffer);
std::vector<loop::Kernel> build_filter_gradient(const Contraction& gradient, const Tiling& tiling,
                                                const Machine& machine,
                                                const loop::NewBuffer& new_buffer);

}  // namespace kroton::winograd
