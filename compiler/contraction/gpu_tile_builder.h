// What kernels of products for GPUs have in common: a block of threads for each tile of results,
// parts of the inner elements, what is stored.
#pragma once
#include <memory>

#include "compiler/contraction/gpu_tiles.h"
#include "compiler/loop/traverse.h"

namespace kroton {

// Whether working the value out may end the run with an error.
bool may_stop(const loop::Expr& value);
// Whether tiles of that many fill the size.
bool fits(const Dim& size, std::int64_t tile);

class GpuTileBuilder {
 public:
  GpuTileBuilder(const Contraction& contraction, const GpuTilePlan& plan,
                 const loop::NewBuffer& new_buffer);
  virtual ~GpuTileBuilder() = default;
  GpuTileBuilder(const GpuTileBuilder&) = delete;
  GpuTileBuilder& operator=(const GpuTileBuilder&) = delete;

  loop::Kernel run();
  // The same where the plan is one in parts.
  GpuPartsKernels run_in_parts();

  // The places along the axes that a position among all of theirs stands for.
  static Places places_of(const AxisList& axes, const loop::Expr& position);
  // The value where `inside` holds, else zero; nothing is loaded for it elsewhere.
  static loop::Expr only_inside(const loop::Expr& value, const loop::Expr& inside);
  // `body` where index < size, unless that is so for every tile.
  static loop::Block inside(const loop::Expr& index, const Dim& size, int tile, loop::Block body);
  static loop::Block unrolled(const loop::Variable& variable, int extent, loop::Block body);
  static loop::Stmt threads(const loop::Variable& variable, int extent, loop::Block body);

 protected:
  virtual loop::Block tile() = 0;
  // How many slices the inner elements are.
  virtual Dim slices() const { return ceil_div(inner_, Dim(plan_.depth)); }

  // Slices of inner elements that a block goes over, and the first of them.
  struct Steps {
    loop::Expr first, count;
  };
  Steps steps() const;
  // Stores the result of that row and column of the tile, or the part's sum of it, if there is one.
  loop::Block store(const loop::Expr& row, const loop::Expr& column, const loop::Expr& sum) const;
  // The same of as many columns from there on as `next` has values, which it is added to; `column`
  // is a multiple of their number.
  loop::Block store_neighbours(const loop::Expr& row, const loop::Expr& column,
                               const loop::Variable& next, int count, const loop::Expr& sum) const;
  // How many columns, at most so many, lie along one axis from each multiple of their number on.
  int neighbours_along_axis(int most) const;
  // Of another contraction with the same rows, whose columns are those of one tile.
  loop::Block store_neighbours_of(const Contraction& contraction, int tile_columns,
                                  const loop::Expr& row, const loop::Expr& column,
                                  const loop::Variable& next, int count,
                                  const loop::Expr& sum) const;

  const Contraction& c_;
  const GpuTilePlan& plan_;
  const loop::NewBuffer& new_buffer_;
  const Dim rows_, columns_, inner_;
  loop::Expr first_row_, first_column_;  // of the tile

 private:
  Dim parts() const { return ceil_div(slices(), plan_.slices_of_part); }
  Dim partial_count() const { return parts() * count(c_.batch) * rows_ * columns_; }
  // Adds up the parts' sums of each result, and stores it.
  loop::Kernel combine() const;
  // What is stored for a row and a column of all, or for one of `count` neighbours of it.
  loop::Block stored(const Contraction& contraction, const loop::Expr& row,
                     const loop::Expr& column, const loop::Expr& sum,
                     const loop::Expr& next = loop::integer(0), int count = 1) const;
  // Where a part's sum of a result is kept.
  loop::Expr partial_index(const loop::Expr& part, const loop::Expr& row,
                           const loop::Expr& column) const;

  const loop::Variable part_ = loop::fresh_variable("part");
  loop::BufferRef partial_ = nullptr;  // where parts leave their sums
};

// The kernel that the plan is for.
std::unique_ptr<GpuTileBuilder> matrix_unit_builder(const Contraction& contraction,
                                                    const GpuTilePlan& plan,
                                                    const loop::NewBuffer& new_buffer);

}  // namespace kroton
