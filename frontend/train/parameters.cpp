// Initial values, and parameters as layers make them.
#include <kroton/nn_parameters.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace kroton::nn {

namespace {

Initializer uniform_within(double (*bound)(const Fans&)) {
  return [bound](const Shape& shape, const Fans& fans, std::uint64_t seed, DType dtype) {
    const double b = bound(fans);
    return Array::uniform(shape, seed, -b, b, dtype);
  };
}

Initializer normal_with(double (*stddev)(const Fans&)) {
  return [stddev](const Shape& shape, const Fans& fans, std::uint64_t seed, DType dtype) {
    return Array::normal(shape, seed, 0, stddev(fans), dtype);
  };
}

double inputs_of(const Fans& fans) {
  return static_cast<double>(std::max<std::int64_t>(fans.inputs, 1));
}
double both_of(const Fans& fans) {
  return static_cast<double>(std::max<std::int64_t>(fans.inputs + fans.outputs, 1));
}

// Rows made orthonormal one after the other, twice each for rounding errors (Gram and Schmidt).
void orthonormalize(std::vector<std::vector<double>>& rows) {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (int pass = 0; pass < 2; ++pass) {
      for (std::size_t k = 0; k < i; ++k) {
        const double product =
            std::inner_product(rows[i].begin(), rows[i].end(), rows[k].begin(), 0.0);
        for (std::size_t j = 0; j < rows[i].size(); ++j) rows[i][j] -= product * rows[k][j];
      }
      const double norm =
          std::sqrt(std::inner_product(rows[i].begin(), rows[i].end(), rows[i].begin(), 0.0));
      for (double& x : rows[i]) x /= norm;
    }
  }
}

// What this thread builds networks with.
struct Context {
  std::string path;
  std::uint64_t seed = 0;
  std::uint64_t made = 0;  // parameters, with that seed
  Recorder* recorder = nullptr;
  bool is_training = false;
  RandomStream random{0, "layers"};
};

Context& context() {
  thread_local Context current;
  return current;
}

// Whether the innermost scope has that name.
bool is_in_scope(const std::string& name) {
  const std::string& path = context().path;
  return path == name + "." || path.ends_with("." + name + ".");
}

// This thread's path with the layer's own name, numbered where the recorders know a parameter of
// that name there.
std::string free_path(const std::string& layer_name, const std::string& name) {
  std::string path = context().path;
  if (!layer_name.empty() && !is_in_scope(layer_name)) path += layer_name + ".";
  if (!Recorder::knows(path + name)) return path;
  int number = 2;
  while (Recorder::knows(path + std::to_string(number) + "." + name)) ++number;
  return path + std::to_string(number) + ".";
}

}  // namespace

Initializer constant(double value) {
  return [value](const Shape& shape, const Fans&, std::uint64_t, DType dtype) {
    return Array::full(shape, value, dtype);
  };
}
Initializer zeros() { return constant(0); }
Initializer ones() { return constant(1); }
Initializer normal(double stddev, double mean) {
  return [=](const Shape& shape, const Fans&, std::uint64_t seed, DType dtype) {
    return Array::normal(shape, seed, mean, stddev, dtype);
  };
}
Initializer uniform(double low, double high) {
  return [=](const Shape& shape, const Fans&, std::uint64_t seed, DType dtype) {
    return Array::uniform(shape, seed, low, high, dtype);
  };
}

Initializer truncated_normal(double stddev) {
  return [stddev](const Shape& shape, const Fans&, std::uint64_t seed, DType dtype) {
    Array result = Array::normal(shape, seed, 0, stddev, f64);
    const std::span<double> values = result.data<double>();
    // One of 20 is drawn again; after so many times none is left.
    for (std::uint64_t again = 1; again < 64; ++again) {
      const auto lies_beyond = [&](double x) { return std::abs(x) > 2 * stddev; };
      if (std::none_of(values.begin(), values.end(), lies_beyond)) break;
      const Array next = Array::normal(shape, seed + (again << 48), 0, stddev, f64);
      for (std::size_t i = 0; i < values.size(); ++i) {
        if (lies_beyond(values[i])) values[i] = next.data<double>()[i];
      }
    }
    return result.cast(dtype);
  };
}

Initializer glorot_uniform() {
  return uniform_within([](const Fans& f) { return std::sqrt(6 / both_of(f)); });
}
Initializer glorot_normal() {
  return normal_with([](const Fans& f) { return std::sqrt(2 / both_of(f)); });
}
Initializer he_uniform() {
  return uniform_within([](const Fans& f) { return std::sqrt(6 / inputs_of(f)); });
}
Initializer he_normal() {
  return normal_with([](const Fans& f) { return std::sqrt(2 / inputs_of(f)); });
}
Initializer lecun_uniform() {
  return uniform_within([](const Fans& f) { return std::sqrt(3 / inputs_of(f)); });
}
Initializer lecun_normal() {
  return normal_with([](const Fans& f) { return std::sqrt(1 / inputs_of(f)); });
}
Initializer torch_uniform() {
  return uniform_within([](const Fans& f) { return std::sqrt(1 / inputs_of(f)); });
}

Initializer orthogonal(double gain) {
  return [gain](const Shape& shape, const Fans&, std::uint64_t seed, DType dtype) {
    if (shape.rank() < 2) {
      throw ShapeError("orthogonal: a parameter of rank 2 at least is expected, it is " +
                       to_string(shape));
    }
    Array result = Array::normal(shape, seed, 0, 1, f64);
    const std::span<double> values = result.data<double>();
    const auto rows = static_cast<std::size_t>(shape[0]);
    const std::size_t columns = rows == 0 ? 0 : values.size() / rows;
    const bool is_wide = rows <= columns;
    const std::size_t count = is_wide ? rows : columns, length = is_wide ? columns : rows;
    const auto at = [&](std::size_t vector, std::size_t k) -> double& {
      return is_wide ? values[vector * columns + k] : values[k * columns + vector];
    };
    std::vector<std::vector<double>> vectors(count, std::vector<double>(length));
    for (std::size_t i = 0; i < count; ++i) {
      for (std::size_t k = 0; k < length; ++k) vectors[i][k] = at(i, k);
    }
    orthonormalize(vectors);
    for (std::size_t i = 0; i < count; ++i) {
      for (std::size_t k = 0; k < length; ++k) at(i, k) = gain * vectors[i][k];
    }
    return result.cast(dtype);
  };
}

void seed(std::uint64_t value) {
  context().seed = value;
  context().made = 0;
  context().random = RandomStream(value, "layers");
}

RandomStream& random_numbers() { return context().random; }

Recorder::Recorder() : outer_(context().recorder) { context().recorder = this; }
Recorder::~Recorder() { context().recorder = outer_; }

std::vector<Shared> Recorder::parameters() const {
  std::vector<Shared> result;
  for (const auto& parameter : recorded_) {
    if (parameter->trainable) result.push_back(parameter->value);
  }
  return result;
}

void Recorder::note(const std::shared_ptr<Parameter>& parameter) {
  for (Recorder* r = context().recorder; r != nullptr; r = r->outer_) {
    if (std::find(r->recorded_.begin(), r->recorded_.end(), parameter) == r->recorded_.end()) {
      r->recorded_.push_back(parameter);
    }
  }
}

bool Recorder::knows(const std::string& name) {
  for (const Recorder* r = context().recorder; r != nullptr; r = r->outer_) {
    for (const auto& parameter : r->recorded_) {
      if (parameter->value.name() == name) return true;
    }
  }
  return false;
}

void Recorder::note_multiply_adds(const Dim& count) {
  for (Recorder* r = context().recorder; r != nullptr; r = r->outer_) {
    r->multiply_adds_ = r->multiply_adds_ + count;
  }
}

Scope Scope::of_layer(const std::string& name) {
  return Scope(is_in_scope(name) ? std::string() : name);
}
Scope::Scope(const std::string& name) : length_(context().path.size()) {
  if (!name.empty()) context().path += name + ".";
}
Scope::~Scope() { context().path.resize(length_); }

Training::Training(bool on) : before_(context().is_training) { context().is_training = on; }
Training::~Training() { context().is_training = before_; }
bool Training::is_on() { return context().is_training; }

Shared Parameters::get(const std::string& name, const Dims& shape, const Initializer& initial,
                       const Fans& fans, DType dtype, bool is_statistic) const {
  if (!made_->path) made_->path = free_path(made_->layer_name, name);
  const std::string path = *made_->path + name;
  const auto line = LineScope::current();
  const std::string where = line ? "  [" + to_string(*line) + "]" : "";
  std::vector<std::int64_t> sizes;
  for (const Dim& size : shape) {
    if (!size.is_constant()) {
      throw ShapeError(path + ": its shape " + to_string(shape) +
                       " must be known when the layer is called" + where);
    }
    sizes.push_back(size.constant());
  }
  std::shared_ptr<Parameter>& made = made_->parameters[name];
  if (!made) {
    if (!initial) throw ValueError(path + ": its initializer is empty" + where);
    // Far apart: an initializer may count on from its seed.
    const std::uint64_t own = context().seed + (++context().made << 20);
    const Array value = initial(Shape(sizes), fans, own, dtype);
    if (value.shape() != Shape(sizes) || value.dtype() != dtype) {
      throw ShapeError(
          path + ": its initializer gave " +
          to_string(TensorType{value.dtype(), Dims(value.shape().begin(), value.shape().end())}) +
          ", it is " + to_string(TensorType{dtype, shape}) + where);
    }
    made = std::make_shared<Parameter>(Parameter{shared(value, path), !is_statistic, is_statistic});
  } else if (made->value.shape() != shape || made->value.dtype() != dtype) {
    throw ShapeError(made->value.name() + ": it is " + to_string(made->value.type()) +
                     ", made at the first call of its layer; this call needs " +
                     to_string(TensorType{dtype, shape}) + where);
  }
  Recorder::note(made);
  return made->value;
}

std::optional<Shared> Parameters::find(const std::string& name) const {
  const auto found = made_->parameters.find(name);
  if (found == made_->parameters.end()) return std::nullopt;
  return found->second->value;
}

}  // namespace kroton::nn
