// Random numbers inside functions: drawn where they are used, by Philox 4x32-10, as a function of
// the stream's seed, of how many calls have used the stream, of the draw, of the step of the scans
// around it, and of the element's position. So they are the same whatever the number of threads,
// compiled at run time, ahead of time or for a GPU; and where a gradient needs them again, they are
// drawn again instead of being stored.
#pragma once
#include <kroton/tensor.h>

#include <memory>

namespace kroton {

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
// nothing. `dtype` is f32 or f64,
// else TypeError; an f32 uniform number has 24 random bits, an f64 one 52.
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
  // Integers in [low, high), at most 2^52 of them: i64 or i32. ValueError for literals that are not.
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
  // the method of Marsaglia and Tsang (2000). No gradient flows to alpha.
  Tensor gamma(Dims shape, const Operand& alpha, DType dtype = f32,
               const Location& at = Location::current()) const;
  // From 0 to 1, of two gamma deviates; for small parameters rounded to one of the two. No gradient flows to the parameters.
  Tensor beta(Dims shape, const Operand& a, const Operand& b, DType dtype = f32,
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

}  // namespace kroton
