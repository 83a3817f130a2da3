// Grows random programs: ops drawn from the registry, loops, gradients.
#pragma once
#include <memory>
#include <random>
#include <set>

#include "compiler/ir/reference.h"
#include "tests/fuzz/program.h"

namespace fuzz {

// The program of that seed; the same on every run of one build.
Program generate(std::uint64_t seed);

class Generator : public kt::ops::Draw {
 public:
  explicit Generator(std::uint64_t seed);

  // Grows a whole program.
  Program run();
  // Tries a call of that op; whether it joined the program.
  bool try_operation(const kt::OpRecord& op);
  // Tries a gradient of something made before.
  bool try_gradient();
  const Program& program() const { return program_; }
  Value last_value() const { return scopes_.back().back(); }

  int below(int count) override;
  kt::ops::Slot operand(kt::ops::Accept accept, int min_rank, int max_rank) override;
  kt::ops::Slot partner(kt::ops::Slot x, kt::ops::Accept accept) override;
  kt::ops::Slot of_type(const kt::TensorType& type) override;
  kt::ops::Slot indices(const kt::Dims& shape, const kt::Dim& size) override;
  kt::Dim size() override;
  std::int64_t value(const kt::Dim& size) const override;
  const kt::Tensor& operator[](kt::ops::Slot slot) const override;

 private:
  struct Known {
    kt::Tensor tensor;
    kt::ReferenceValue value;  // in the first call; in a loop's step, of one step
    bool leaf = false;         // a variable, or a parameter of a step
  };
  using Accepts = std::function<bool(const Known&)>;

  void choose_sizes();
  Value add_variable(kt::DType dtype, kt::Dims shape, Contents contents, bool shared = false);
  Value random_variable(kt::ops::Accept accept, int min_rank, int max_rank);
  Contents random_contents(kt::DType dtype);
  kt::DType random_dtype(kt::ops::Accept accept);

  Value fresh() { return program_.next++; }
  void know(Value v, Known known);
  std::vector<Value> visible(const Accepts& accepts) const;
  std::optional<Value> choose(const Accepts& accepts);
  kt::ops::Slot use(Value v);
  bool same_shape(const kt::Dims& a, const kt::Dims& b) const;
  bool broadcasts(const kt::Dims& a, const kt::Dims& b) const;

  std::vector<kt::Tensor> tensors_of(const std::vector<Value>& values) const;
  std::vector<kt::ReferenceValue> values_of(const std::vector<kt::Tensor>& tensors,
                                            const std::vector<Value>& operands, bool whole) const;
  bool is_reasonable(const kt::ReferenceValue& value);
  // Appends the statement if its results are worth having.
  bool add(Statement statement, const std::vector<kt::Tensor>& results, bool whole);
  std::optional<Value> emit(kt::ops::Call call, std::vector<Value> operands);

  void grow(int statements);
  bool try_any_operation();
  bool try_loop();
  void choose_sequences(Scan& loop);
  void choose_states(Scan& loop);
  Block step(const Scan& loop, const std::vector<Value>& operands,
             std::span<const kt::Tensor> arguments);
  std::optional<Value> next_state(Value parameter, const std::vector<Value>& made);
  std::optional<Value> scalar_of(Value v);
  void choose_outputs();
  void choose_updates();

  std::mt19937_64 random_;
  Program program_;
  kt::SizeBindings sizes_;
  std::vector<kt::Dim> size_choices_;
  std::map<Value, Known> known_;
  std::vector<std::vector<Value>> scopes_;  // what each block has made so far, outermost first
  std::vector<Block*> blocks_;
  std::set<Value> used_;         // by a statement
  std::vector<Value> operands_;  // of the call that is being drawn
  int dtype_of_program_ = 0;     // which floating dtypes it has
};

}  // namespace fuzz
