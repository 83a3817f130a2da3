#include "programs.h"

#include <stdexcept>

namespace kt = kroton;

namespace bench {
namespace {

const std::map<std::string, Family>& families() {
  static const std::map<std::string, Family> all = {
      {"positions", position_programs()},  {"short", short_programs()},
      {"threads", thread_programs()},      {"access", access_programs()},
      {"strides", stride_programs()},      {"reshapes", reshape_programs()},
      {"joins", join_programs()},          {"stored", stored_programs()},
      {"pointwise", pointwise_programs()}, {"gathers", gather_programs()},
      {"sparse", sparse_programs()},       {"optimisers", optimiser_programs()},
      {"recurrent", recurrent_programs()}, {"graphs", graph_programs()},
      {"ops", operation_programs()},       {"linalg", linalg_programs()},
      {"jacobian", jacobian_programs()}};
  return all;
}

// FAMILY/WHAT/SIZES from `first` on.
Program program_of(const Parts& parts, std::size_t first) {
  const auto family = families().find(parts.at(first));
  if (family == families().end()) throw std::runtime_error("no such family: " + parts.at(first));
  const auto build = family->second.find(parts.at(first + 1));
  if (build == family->second.end()) {
    throw std::runtime_error("no such program: " + parts.at(first + 1));
  }
  Sizes sizes;
  for (const std::string& size : split(parts.at(first + 2), 'x')) sizes.push_back(std::stol(size));
  return build->second(sizes);
}

void append_sample(std::vector<double>& values, const kt::Array& array) {
  const kt::Array converted = array.dtype() == kt::f64 ? array : array.cast(kt::f64);
  const std::vector<double> some = sample(converted.data<double>());
  values.insert(values.end(), some.begin(), some.end());
}

std::vector<kt::Array> call(const kt::Function<kt::dynamic_outputs>& f,
                            const std::vector<kt::Array>& arguments) {
  const std::vector<kt::Argument> views(arguments.begin(), arguments.end());
  return f.call(views);
}

}  // namespace

kt::Tensor Inputs::add(const kt::Array& argument, kt::Dims sizes) {
  inputs_.push_back(
      kt::tensor("x" + std::to_string(inputs_.size()), std::move(sizes), argument.dtype()));
  arguments_.push_back(argument);
  return inputs_.back();
}

kt::Tensor Inputs::data(const kt::Shape& shape, double scale) {
  kt::Dims sizes(shape.begin(), shape.end());
  // Equal lengths of two inputs are one size.
  if (!sizes.empty()) sizes[0] = kt::dim("n" + std::to_string(shape[0]));
  return add(filled(shape, seed(), scale), sizes);
}

kt::Tensor Inputs::free(const kt::Shape& shape, double scale) {
  kt::Dims sizes;
  for (const std::int64_t size : shape) sizes.push_back(kt::dim("n" + std::to_string(size)));
  return add(filled(shape, seed(), scale), sizes);
}

kt::Tensor Inputs::known(const kt::Shape& shape, double scale) {
  return add(filled(shape, seed(), scale), kt::Dims(shape.begin(), shape.end()));
}

kt::Shared Inputs::parameter(const kt::Shape& shape, double scale) {
  return kt::shared(filled(shape, seed(), scale));
}

kt::Shared Inputs::weights(const kt::Shape& shape, double scale) {
  kt::Array array = kt::Array::empty(shape);
  auto elements = array.data<float>();
  const std::size_t own = seed();
  for (std::size_t i = 0; i < elements.size(); ++i) {
    elements[i] = static_cast<float>(scattered_element(i, own, scale));
  }
  return kt::shared(array);
}

kt::Tensor Inputs::numbers(const kt::Shape& shape, std::int64_t classes) {
  kt::Array array = kt::Array::empty(shape, kt::i64);
  auto elements = array.data<std::int64_t>();
  const std::size_t own = seed();
  for (std::size_t i = 0; i < elements.size(); ++i) {
    elements[i] = static_cast<std::int64_t>((element(i, own) + 0.5) * static_cast<double>(classes));
  }
  kt::Dims sizes(shape.begin(), shape.end());
  sizes[0] = kt::dim("n" + std::to_string(shape[0]));
  return add(array, sizes);
}

kt::Tensor Inputs::labels(const kt::Shape& shape, std::int64_t classes) {
  kt::Dims sizes(shape.begin(), shape.end());
  sizes[0] = kt::dim("n" + std::to_string(shape[0]));
  return add(class_numbers(shape, classes), sizes);
}

Build of_one(kt::Tensor (*f)(const kt::Tensor&)) {
  return [f](const Sizes& n) {
    Inputs in;
    return in.gives({f(in.data(kt::Shape(n)))});
  };
}

Build of_two(kt::Tensor (*f)(const kt::Tensor&, const kt::Tensor&)) {
  return [f](const Sizes& n) {
    Inputs in;
    const auto x = in.data(kt::Shape(n));
    const auto y = in.data(kt::Shape(n));
    return in.gives({f(x, y)});
  };
}

Build of_one_free(kt::Tensor (*f)(const kt::Tensor&)) {
  return [f](const Sizes& n) {
    Inputs in;
    return in.gives({f(in.free(kt::Shape(n)))});
  };
}

Case program_case(Program program, int calls) {
  const auto f = kt::function(program.inputs, program.outputs, std::move(program.options));
  const auto arguments = std::make_shared<std::vector<kt::Array>>(std::move(program.arguments));
  return {[f, arguments] { call(f, *arguments); },
          [f, arguments, calls] {
            std::vector<double> values;
            for (int k = 0; k < calls; ++k) {
              for (const kt::Array& output : call(f, *arguments)) append_sample(values, output);
            }
            return values;
          }};
}

Case compilation_case(const std::function<Program()>& build) {
  const auto compile = [build] {
    Program program = build();
    const auto f = kt::function(program.inputs, program.outputs, std::move(program.options));
    return call(f, program.arguments);
  };
  return {[compile] { compile(); },
          [compile] {
            std::vector<double> values;
            for (const kt::Array& output : compile()) append_sample(values, output);
            return values;
          }};
}

Case class_case(const Parts& parts) {
  if (parts.at(1) == "compile") return compilation_case([parts] { return program_of(parts, 2); });
  return program_case(program_of(parts, 1), 3);  // what a step leaves behind counts
}

}  // namespace bench
