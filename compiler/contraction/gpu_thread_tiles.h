// Tiles whose products each thread adds up in registers, from slices of both operands in shared
// memory. How a slice comes there is the derived class's.
#pragma once
#include "compiler/contraction/gpu_tile_builder.h"

namespace kroton {

class GpuThreadTileBuilder : public GpuTileBuilder {
 public:
  using GpuTileBuilder::GpuTileBuilder;

 protected:
  // Rows (or columns) of an operand, a few inner elements deep, on their way to shared memory: each
  // thread has some elements in registers, so that those of the next slice may be under way while
  // this one is multiplied.
  struct Slice {
    bool is_a;
    loop::BufferRef shared, held;
    int width = 0;   // rows or columns of the tile
    int stride = 0;  // of its inner elements in shared memory
  };
  static constexpr loop::Space shared = loop::Space::shared, registers = loop::Space::registers;

  loop::BufferRef buffer(const char* name, int size, loop::Space space) const {
    return new_buffer_(name, c_.dtype, Dim(size), space);
  }

  // Elements of a slice that a thread has in registers.
  virtual int held_of(bool is_a) const = 0;
  // Works out what holds for all slices.
  virtual void begin(const std::vector<Slice>& both_slices, loop::Block& to) = 0;
  // Reads a thread's elements of the first slices, and of those behind the ones read last: their
  // step is `step`, where they are past the last nothing is read.
  virtual void fetch_first(const std::vector<Slice>& both_slices, const loop::Expr& step,
                           loop::Block& to) = 0;
  virtual void fetch_next(const std::vector<Slice>& both_slices, const loop::Expr& step,
                          loop::Block& to) = 0;
  virtual loop::Stmt to_shared(const Slice& slice) const = 0;

 private:
  loop::Block tile() override;

  // One of a thread's results: its row and column in the tile, the inner element, its register.
  struct Result {
    loop::Expr row, column, k, sum;
  };
  // `body` for every result of every thread, and for each of `depth` inner elements if given; or
  // for the first of every `together` neighbours.
  template <class Body>
  loop::Stmt over_results(const Body& body, int depth = 0, int together = 1) const;
  // Stores what the threads' registers hold.
  loop::Stmt store_all(const loop::BufferRef& totals) const;
};

}  // namespace kroton
