// Random numbers inside functions: drawn where they are used, by Philox 4x32-10, as a function of
// the stream's seed, of how many calls have used the stream, of the draw, of the step of the scans
// around it, and of the element's position. So they are the same whatever the number of threads,
// compiled at run time, ahead of time or for a GPU; and where a gradient needs them again, they are
// drawn again instead of being stored.
#pragma once
#include <kroton/tensor.h>

#include <memory>

namespace kroton {

struct ChoiceOptions {
  bool replace = true;
  Tensor p = {};
};

// A source of random numbers.
//
//     kt::RandomStream random(/*seed=*/1);
//     const kt::Tensor mask = random.bernoulli(x.shape(), 0.5);
//     const auto f = kt::function({x}, x * kt::cast(mask, kt::f32));   // another mask in each call
//
// Every draw is independent of every other one, also of one that looks the same. A function that
// depends on a draw counts its calls in the stream's state, a shared variable, as if it had an
// update of it; functions that share a stream continue each other. Inside a scan a draw is another
// one in each step. A gradient flows to the parameters of a distribution (low, high, mean, stddev,
// rate, logits), through the numbers as they were drawn.
//
// The result has shape `shape`, to which the parameters must broadcast, else ShapeError. Literals
// that no distribution has are ValueErrors; of other parameters out of range the numbers mean
// nothing. `dtype` is floating,
// else ValueError; an f32 uniform number has 24 random bits, an f64 one 52, an f16 one 11, a bf16
// one 8. Other numbers of 16 bits are drawn in f32 and rounded.
class RandomStream {
 public:
  using Location = std::source_location;

  explicit RandomStream(std::uint64_t seed, std::string name = "random",
                        const Location& at = Location::current());

  // The stream's place, for checkpoints: i64 (2,), the seed's bits and the number of calls so far.
  // After set_value() the numbers that follow are those that followed there.
  Shared state() const { return state_; }

  // In [low, high). ValueError for literals with low >= high.
  Tensor uniform(Dims shape, const Operand& low = 0, const Operand& high = 1, DType dtype = f32,
                 const Location& at = Location::current()) const;
  // By the Box-Muller transform. ValueError for a negative literal stddev.
  Tensor normal(Dims shape, const Operand& mean = 0, const Operand& stddev = 1, DType dtype = f32,
                const Location& at = Location::current()) const;
  // Normal deviates that lie within `reach` standard deviations of the mean, by the inverse of the
  // distribution function.
  Tensor truncated_normal(Dims shape, const Operand& mean = 0, const Operand& stddev = 1,
                          double reach = 2, DType dtype = f32,
                          const Location& at = Location::current()) const;
  // True with probability p, floating: boolean. ValueError for a literal outside [0, 1].
  Tensor bernoulli(Dims shape, const Operand& p = 0.5,
                   const Location& at = Location::current()) const;
  // Integers in [low, high), at most 2^52 of them: of an integer dtype. ValueError for literals
  // that are not.
  Tensor integers(Dims shape, const Operand& low, const Operand& high, DType dtype = i64,
                  const Location& at = Location::current()) const;
  // With density rate * exp(-rate * x), for x > 0.
  Tensor exponential(Dims shape, const Operand& rate = 1, DType dtype = f32,
                     const Location& at = Location::current()) const;
  // The largest of many: location - scale * log(exponential).
  Tensor gumbel(Dims shape, const Operand& location = 0, const Operand& scale = 1,
                DType dtype = f32, const Location& at = Location::current()) const;
  Tensor laplace(Dims shape, const Operand& location = 0, const Operand& scale = 1,
                 DType dtype = f32, const Location& at = Location::current()) const;
  Tensor logistic(Dims shape, const Operand& location = 0, const Operand& scale = 1,
                  DType dtype = f32, const Location& at = Location::current()) const;
  // The density of shape `alpha` (positive) and scale 1 is x^(alpha-1) exp(-x) / gamma(alpha), by
  // the method of Marsaglia and Tsang (2000). The gradient by alpha is that at which the share of
  // the distribution below the number stays (implicit reparametrisation); of first order only.
  Tensor gamma(Dims shape, const Operand& alpha, DType dtype = f32,
               const Location& at = Location::current()) const;
  // From 0 to 1, of two gamma deviates; for small parameters rounded to one of the two. Gradients
  // as of gamma.
  Tensor beta(Dims shape, const Operand& a, const Operand& b, DType dtype = f32,
              const Location& at = Location::current()) const;
  // How many events of a process there are whose mean is `rate`, not negative and below 2^52: by
  // inversion below a rate of 30, above it by the transformed rejection of Hörmann (1993). No
  // gradient flows to the rate.
  Tensor poisson(Dims shape, const Operand& rate = 1, DType dtype = i64,
                 const Location& at = Location::current()) const;
  // The numbers 0 to n - 1 in a random order, each order with the same probability: i64 (n).
  Tensor permutation(const Dim& n, const Location& at = Location::current()) const;
  // The rows of x, of one axis or more, in a random order.
  Tensor shuffle(const Operand& x, const Location& at = Location::current()) const;
  // Rows of x: (shape..., the other axes of x). With `replace` each is any of the rows, or with
  // `p`, floating (rows), one with a probability in proportion to it. Without they are different
  // rows, of a shape of one axis, at most as many as x has: else ShapeError. ValueError for `p`
  // without `replace`.
  Tensor choice(const Operand& x, Dims shape, const ChoiceOptions& options = {},
                const Location& at = Location::current()) const;
  // Class k with a probability in proportion to exp(logits[..., k]): i64 of the shape of the
  // logits, floating, without their last axis. ShapeError for scalars.
  Tensor categorical(const Operand& logits, const Location& at = Location::current()) const;
  // How often each class comes in `count` draws of `categorical`: i64 of the shape of the logits.
  Tensor multinomial(std::int64_t count, const Operand& logits,
                     const Location& at = Location::current()) const;

 private:
  Shared state_;
  std::shared_ptr<std::int64_t> draws_;  // so far; copies of a stream are the same stream
};

// The permutation, i64, of 0 to n - 1 that Fisher and Yates' method makes of choices (..., n),
// integers, along their last axis: in step i position i gets what stands at choices[i], which gets
// i. Choices outside of [0, i] are the nearest in it. TypeError for other dtypes, ShapeError for
// scalars.
Tensor fisher_yates(const Operand& choices);

}  // namespace kroton
