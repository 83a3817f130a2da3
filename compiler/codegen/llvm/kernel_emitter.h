// The state of printing one kernel: scopes, vector context, and the memo of printed expressions.
#pragma once
#include <functional>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "compiler/codegen/llvm/emit_kernel.h"
#include "compiler/loop/place_values.h"

namespace kroton::codegen {

// A printed value: a scalar, or one lane per iteration of the vector loop in progress.
struct Printed {
  llvm::Value* value = nullptr;
  bool lanes = false;
};

// Of the widest vectors, 64 bytes of f32.
constexpr std::int64_t most_lanes = 16;

inline bool is_on_stack(const loop::BufferRef& buffer) {
  return buffer->space == loop::Space::registers || buffer->space == loop::Space::stack;
}

// Whether lanes of the vector loop that load zeros compute zeros only, or do no arithmetic, so that
// they raise no floating-point flag.
bool is_harmless_on_zeros(const loop::For& loop);

class KernelEmitter {
 public:
  KernelEmitter(llvm::Module& module, const Program& program, const loop::Kernel& kernel,
                const Machine& machine);
  EmittedKernel run(const std::vector<loop::BufferRef>& buffers,
                    const std::vector<loop::Variable>& numbers);

 private:
  // A value under a Let. It is printed when it is used, so that what nobody needs is not, nor both
  // the lanes and the first of them where one is enough: right there, or where control has left
  // the stretch of code that the Let is in.
  struct Held {
    std::size_t level = 0;
    bool in_lanes = false;
    std::optional<Printed> printed = std::nullopt;
    llvm::Value* at_base = nullptr;
  };
  using HeldScope = loop::LetValues<Held>::Scope;
  // The vector loop in progress. `base` is the first lane's iteration. Where lanes are idle, the
  // first is active, and the idle ones repeat its iteration: they raise no floating-point flag that
  // it does not raise. Where zeros raise none, what they load is 0 instead.
  struct Lanes {
    int variable = -1;
    int width = 1;
    int depth = 0;  // of its body
    llvm::Value* base = nullptr;
    llvm::Value* mask = nullptr;  // null: all lanes are active
    bool repeats = false;         // idle lanes repeat the first
  };
  struct Scalar {  // a declared accumulator
    llvm::AllocaInst* slot = nullptr;
    bool lanes = false;
    int depth = 0;
    bool counts = false;  // holds the number of the vector loop's iteration, for a position
  };

  // Expressions (emit_expr.cpp, emit_load.cpp, emit_cast.cpp).
  Printed print(const loop::Expr& e);
  // The value in lane 0 of the vector loop: for the addresses of contiguous accesses.
  llvm::Value* print_at_base(const loop::Expr& e);
  Printed print_memoised(const loop::Expr& e, bool at_base);
  Printed print_node(const loop::ExprNode& e, bool at_base);
  Printed print_load(const loop::ExprNode& e, bool at_base);
  Printed print_conditional_load(const loop::ExprNode& e, bool at_base);
  llvm::Value* load_strided(llvm::Value* pointer, DType dtype, std::int64_t step);
  Printed print_check_index(const loop::ExprNode& e, bool at_base);
  Printed print_check(const loop::ExprNode& e);
  void fail_if(const Printed& bad, const Printed& index, const Printed& size, int site);
  llvm::Value* print_integer_division(loop::Op op, DType dtype, llvm::Value* a, llvm::Value* b);
  llvm::Value* print_cast(llvm::Value* a, DType from, DType to);
  llvm::Value* fenced(llvm::Value* a);
  llvm::Value* print_f32_of(llvm::Value* a, DType from);
  llvm::Value* print_rounded(llvm::Value* a, DType to);
  llvm::Value* print_binary(loop::Op op, DType dtype, llvm::Value* a, llvm::Value* b,
                            const loop::ExprNode* node);
  llvm::Value* splat(const Printed& p);
  llvm::Type* type_of(DType dtype, bool lanes);
  // What printing depends on.
  struct Nature {
    int depth = 0;        // of the innermost body that defines a variable of it
    bool checks = false;  // a check is in it
    int held = 0;         // how many values are held at once while it is printed, at least
  };
  const Nature& nature_of(const loop::ExprNode& e);
  std::vector<std::size_t> printing_order(const loop::ExprNode& e, bool as_written);
  bool depends_on_lane(const loop::ExprNode& e);
  bool same_for_all_lanes(const loop::ExprNode& e);
  loop::Expr lane_stride(const loop::Expr& index);
  llvm::Value* address(const loop::BufferRef& buffer, llvm::Value* index);
  llvm::Align alignment(DType dtype) const;

  // Statements (emit_kernel.cpp).
  void print_block(const loop::Block& block);
  void print_statement(const loop::Stmt& stmt);
  void print_body(const loop::For& loop, const std::function<void()>& body);
  void print_after(llvm::Instruction* branch, const std::function<void()>& print_there);
  void hold(const loop::Let& let, HeldScope& scope);
  void hold_values_of(const loop::For& loop, HeldScope& scope);
  void print_allocate(const loop::Allocate& allocate);
  void print_for(const loop::For& loop);
  void print_counted(const loop::For& loop, llvm::Value* begin, llvm::Value* end, std::int64_t step,
                     const std::function<void(llvm::Value*)>& body);
  void print_rest(llvm::Value* rest, const loop::For& loop,
                  const std::function<void(llvm::Value*)>& body);
  void bind(const loop::Variable& variable, llvm::Value* value);
  void print_vector(const loop::For& loop);
  llvm::Value* mask_of(int width, llvm::Value* rest);
  llvm::Value* opaque_mask(int width, llvm::ConstantInt* rest);
  void print_lanes(const loop::For& loop, llvm::Value* base, llvm::Value* mask, bool repeats);
  bool print_transposed(const loop::For& loop);
  void print_if(const loop::If& branch);
  void print_store(const loop::Store& store);
  void print_interleaved(const loop::Store& first, const std::vector<llvm::Value*>& values);
  llvm::Value* in_memory(llvm::Value* value, DType dtype);
  void print_accumulate(const loop::Accumulate& accumulate);
  llvm::Value* combine(loop::Op op, DType dtype, llvm::Value* a, llvm::Value* b);
  llvm::Constant* identity(loop::Op op, DType dtype);
  void declare(const loop::Variable& variable, llvm::Value* init, bool lanes);
  llvm::AllocaInst* entry_slot(llvm::Type* type, const std::string& name, int align = 0);
  llvm::BasicBlock* cut_here(const char* name);
  void return_error(llvm::Value* failed, llvm::Value* index, llvm::Value* size, int site);

  // Accumulators in lanes (emit_lanes.cpp): one value, or the best one and its position.
  using Values = std::vector<llvm::Value*>;
  std::vector<Values> combine_lanes(
      std::int64_t element_bytes, const std::vector<Values>& lanes,
      const std::vector<Values>& before,
      const std::function<Values(const Values&, const Values&)>& combine_two,
      const std::function<Values(const Values&)>& finish = nullptr);
  void print_accumulate(const loop::AccumulateArg& accumulate);
  loop::Expr position_of_first(const loop::For& loop, const loop::AccumulateArg& a);
  llvm::Constant* first_position(const loop::For& loop, const loop::AccumulateArg& a, bool counts);
  llvm::Value* position_of(llvm::Value* found, const loop::Expr& start, llvm::Value* extent);
  llvm::Value* print_iterations(llvm::Type* type);
  llvm::Value* arg_better(const loop::AccumulateArg& a, llvm::Value* value, llvm::Value* best,
                          llvm::Value* at, llvm::Value* position);
  llvm::Value* arg_beats(const loop::AccumulateArg& a, llvm::Value* value, llvm::Value* best);
  Values better_of(const loop::AccumulateArg& a, const Values& best, const Values& value);
  Values better_of(const loop::AccumulateArg& a, std::vector<Values> all);

  llvm::Module& module_;
  llvm::LLVMContext& context_;
  const Program& program_;
  const loop::Kernel& kernel_;
  const bool masks_;         // masked loads and stores cost no more than others
  const bool converts_f16_;  // by an instruction
  llvm::IRBuilder<> builder_;
  llvm::Function* function_ = nullptr;
  std::unique_ptr<SizeEmitter> sizes_;
  llvm::Value* call_context_ = nullptr;
  std::unordered_map<int, llvm::Value*> buffers_;                         // by Buffer::id
  std::unordered_map<int, std::pair<llvm::Value*, int>> loop_variables_;  // value and depth
  std::unordered_map<int, Scalar> scalars_;
  loop::LetValues<Held> lets_;
  int depth_ = 0;  // of nested bodies
  // A level is a stretch of code that is run from its beginning to its end. Of those around the
  // current one, the instructions by which control leaves them for the next.
  std::size_t level_ = 0;
  std::vector<llvm::Instruction*> left_;
  std::optional<Lanes> lanes_;
  std::map<std::pair<int, std::int64_t>, llvm::Value*> opaque_masks_;  // by width and active lanes
  std::unordered_map<const loop::ExprNode*, Nature> natures_;
  EmittedKernel result_;
};

}  // namespace kroton::codegen
