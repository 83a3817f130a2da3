// Programs that stand for a class each: of access, reduction, shape, fusion. Their names are those
// of classes.py, and each has its like in peers/classes.
#pragma once

#include <map>

#include "ours.h"

namespace bench {

using Sizes = std::vector<std::int64_t>;

struct Program {
  std::vector<kroton::Tensor> inputs;
  std::vector<kroton::Tensor> outputs;
  std::vector<kroton::Array> arguments;
  kroton::FunctionOptions options;
};

// Makes a program of the sizes in a case's name.
using Build = std::function<Program(const Sizes&)>;
using Family = std::map<std::string, Build>;

Family position_programs();
Family short_programs();
Family thread_programs();
Family access_programs();
Family stride_programs();
Family reshape_programs();
Family join_programs();
Family stored_programs();
Family pointwise_programs();
Family gather_programs();
Family sparse_programs();
Family optimiser_programs();
Family recurrent_programs();
Family graph_programs();
Family operation_programs();
Family linalg_programs();
Family jacobian_programs();

// The function of a program, called with its arguments; its values are those of so many calls.
Case program_case(Program program, int calls);
// Makes the function of what `build` gives and calls it, each time anew.
Case compilation_case(const std::function<Program()>& build);

// The step of a network's case: cnn/cifar/BATCH.
Program network(const Parts& parts);

// Collects what a program reads. The k-th tensor that it fills gets the elements of seed k.
class Inputs {
 public:
  // The first size is free, as that of a batch is, the others are known.
  kroton::Tensor data(const kroton::Shape& shape, double scale = 1);
  // All sizes are free.
  kroton::Tensor free(const kroton::Shape& shape, double scale = 1);
  // All sizes are known, as those of weights are.
  kroton::Tensor known(const kroton::Shape& shape, double scale = 1);
  kroton::Shared parameter(const kroton::Shape& shape, double scale = 1);
  // A parameter of elements in no pattern.
  kroton::Shared weights(const kroton::Shape& shape, double scale);
  // Numbers below `classes` in no order, the first size free.
  kroton::Tensor numbers(const kroton::Shape& shape, std::int64_t classes);
  // The same as class_numbers gives them.
  kroton::Tensor labels(const kroton::Shape& shape, std::int64_t classes);

  Program gives(std::vector<kroton::Tensor> outputs, kroton::FunctionOptions options = {}) const {
    // A gradient need not depend on all that the loss depends on.
    options.on_unused_input = kroton::UnusedInput::ignore;
    return {inputs_, std::move(outputs), arguments_, std::move(options)};
  }

 private:
  kroton::Tensor add(const kroton::Array& argument, kroton::Dims sizes);
  std::size_t seed() { return filled_++; }

  std::vector<kroton::Tensor> inputs_;
  std::vector<kroton::Array> arguments_;
  std::size_t filled_ = 0;
};

// Programs of one or two inputs of the case's sizes, the first of which is free.
Build of_one(kroton::Tensor (*f)(const kroton::Tensor& x));
Build of_two(kroton::Tensor (*f)(const kroton::Tensor& x, const kroton::Tensor& y));
// The same of one input all of whose sizes are free.
Build of_one_free(kroton::Tensor (*f)(const kroton::Tensor& x));

// What a step of "sgd", "momentum" or "adam" makes of the parameters, and of the state it keeps.
std::vector<kroton::Update> descent(const std::string& kind, const kroton::Tensor& loss,
                                    const std::vector<kroton::Shared>& parameters);

// For programs whose gradient is asked for: sum(y * weights).
inline kroton::Tensor weighed(const kroton::Tensor& y, const kroton::Tensor& weights) {
  return kroton::sum(y * weights);
}

}  // namespace bench
