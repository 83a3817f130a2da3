// Jacobi's method for small matrices of known sizes, with a matrix in each lane of a vector: plane
// rotations of two rows at a time, each of which makes the rows orthogonal to each other (singular
// values) or an element beside the diagonal 0 (eigenvalues), in sweeps over all pairs until nothing
// changes any more. A rotation that its matrix no longer needs changes no bit, so results do not
// depend on which matrices share a block. Rotations exchange rows that are in the wrong order: once
// nothing changes, values are sorted.
#pragma once
#include "compiler/ops/lanes.h"

namespace kroton::ops {

// What is known of the matrices of a block, one number each.
struct JacobiBlock {
  explicit JacobiBlock(LaneLoops& loops)
      : is_finite(loops.array({1})), unit(loops.array({1})), moved(loops.array({1})) {}
  LaneLoops::Array is_finite;  // 1 or 0
  LaneLoops::Array unit;       // the power of two that they were divided by
  LaneLoops::Array moved;      // above 0 while there is something to do
};

// Reads the matrices into `x`, zeros in lanes without one and in place of one that is not finite;
// brings them near to scale_of. `element`: that of the matrix at `batch` for the place (i, j) of x.
void read_scaled(LaneLoops& loops, const LaneLoops::Array& x, std::size_t rows, std::size_t columns,
                 const JacobiBlock& block,
                 const std::function<loop::Expr(const Index& batch, const loop::Expr& i,
                                                const loop::Expr& j)>& element);
void set_identity(LaneLoops& loops, const LaneLoops::Array& x, std::size_t size);

// Calls `rotate_pair` in sweeps over all pairs of rows p < q while matrices note that they moved.
void sweep(LaneLoops& loops, std::size_t size, const JacobiBlock& block,
           const std::function<void(const loop::Expr& p, const loop::Expr& q)>& rotate_pair);
void note_moved(LaneLoops& loops, const JacobiBlock& block, const Term& moves);

// Two rows (p, q) become (cp p + sp q, cq p + sq q), and the numbers that belong to them change.
struct Rotation {
  Term cp, sp, cq, sq;
  Term of_p, of_q;
};
// Makes the matrix [a, c; c, b] diagonal if that is `needed`, and exchanges what is in the wrong
// order. What needs neither stays as it is.
Rotation rotation_of(LaneLoops& loops, const Term& a, const Term& b, const Term& c,
                     const Term& needed, const Term& is_exchanged);
std::vector<Term> held_row(LaneLoops& loops, const LaneLoops::Array& x, const loop::Expr& row,
                           std::size_t size);
// Rows p and q of x, which are held, after the rotation.
void rotate(LaneLoops& loops, const LaneLoops::Array& x, const loop::Expr& p, const loop::Expr& q,
            const std::vector<Term>& of_p, const std::vector<Term>& of_q, const Rotation& r);

// Turns row i of x, and that of `also` if there is one, to the sign that linalg.h promises.
void turn(LaneLoops& loops, const loop::Expr& i, const LaneLoops::Array& x, std::size_t size,
          const LaneLoops::Array* also = nullptr, std::size_t size_also = 0);

// Stores the value, as it is in the matrix; ends the call with the text where that is not finite.
void store_value(LaneLoops& loops, const JacobiBlock& block, const Index& index, const Term& value,
                 const loop::Expr& number, const std::string& text);

}  // namespace kroton::ops
