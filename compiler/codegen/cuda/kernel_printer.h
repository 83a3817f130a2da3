// The state of printing one kernel as CUDA C++.
#pragma once
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "compiler/codegen/cuda/emit_cuda.h"
#include "compiler/loop/place_values.h"

namespace kroton::codegen {

class KernelPrinter {
 public:
  KernelPrinter(const Program& program, const loop::Kernel& kernel);
  // Appends the kernel's text to `source`.
  CudaKernel run(std::string& source);

 private:
  // How tightly an expression's text binds.
  enum Level {
    any,
    choice,
    disjunction,
    conjunction,
    bits,
    comparison,
    sum,
    product,
    prefix,
    atom
  };
  // Where it stands: indices are sums and products of loop variables and sizes that cannot
  // overflow, written with the plain operators; values wrap.
  enum class Place { value, index };

  // Names.
  std::string distinct(const std::string& wish);
  const std::string& name_of(const loop::Variable& variable);
  const std::string& name_of(const loop::BufferRef& buffer);
  void declare_parameters();

  // Expressions (print_expr.cpp).
  std::string text(const loop::Expr& e, Place place, int outer = any);
  std::string node_text(const loop::Expr& e, Place place, int outer);
  std::string infix(const loop::Expr& e, const char* op, int level, Place place, int outer);
  std::string element_text(const loop::BufferRef& buffer, const loop::Expr& index);
  static bool steps_by_one(const loop::Expr& index, const loop::Variable& v);
  std::string call(const std::string& function, const loop::Expr& e, Place place);
  std::string compared(const loop::Expr& e, const char* op, Place place, int outer);
  std::string arithmetic(const loop::Expr& e, Place place, int outer);
  std::string division(const loop::Expr& e);
  std::string conversion(const loop::Expr& e, int outer);
  std::string size_text(const Dim& dim, Place place, int outer);
  std::string atom_text(const DimAtom& size);
  static Dim operation(const DimAtom& size);
  static std::string real_text(double value, DType dtype);
  static std::string widened(const std::string& index, int outer);
  // Whether it is made of loop variables, sizes and constants by arithmetic of indices only.
  bool is_plain(const loop::Expr& e);
  bool is_not_negative(const loop::Expr& e);
  // Whether it is written, and computed, as an index; whether its text is of their type, too.
  bool is_index(const loop::Expr& e);
  bool is_narrow(const loop::Expr& e);
  Place place_of(const loop::Expr& e) const;
  void find_names(const loop::Block& block);
  void find_indices(const loop::Block& block);
  std::string type_of(const loop::Variable& counter) const;
  std::string type_of_let(const loop::Expr& e);
  void print_check(const loop::Expr& e, const std::string& name);

  // Statements (print_kernel.cpp).
  void line(const std::string& text);
  void open(const std::string& text);
  void close(const std::string& text = "}");
  void print_block(const loop::Block& block);
  void print_statement(const loop::Stmt& stmt);
  void print_let(const loop::Let& let, loop::LetValues<std::string>::Scope& scope);
  void print_declare(const loop::Declare& s);
  void print_allocate(const loop::Allocate& s);
  void print_store(const loop::Store& s);
  // What blocks wait for.
  std::string told_text(const loop::BufferRef& buffer, const loop::Expr& index);
  bool print_awaiting(const loop::Stmt& stmt);
  void print_accumulate(const loop::Accumulate& s);
  void print_accumulate(const loop::AccumulateArg& s);
  void print_for(const loop::For& loop);
  void print_if(const loop::If& branch);
  void print_together(const loop::For& loop);
  void print_threads(const loop::For& loop);
  // Copies that nobody waits for, products of tiles (print_matrices.cpp).
  void print_copies(const loop::For& loop);
  void print_copy(const loop::Copy& s);
  void print_multiply(const loop::Multiply& s);
  void print_barrier(const loop::Barrier& s);
  void print_thread_loop(const loop::For& loop, const std::function<void()>& body);
  int blocks_at_a_time() const;
  int rows_in_a_block(const loop::Expr& count) const;
  void print_row_of_block(const loop::For& loop);
  std::string number_of_thread() const;
  std::string shared_for_combining(DType dtype, const std::string& role);
  static std::string combined(loop::Op op, DType dtype, const std::string& a, const std::string& b);

  const Program& program_;
  const loop::Kernel& kernel_;
  std::string body_;
  int indent_ = 1;
  int threads_ = 1;  // that share an iteration of the block loop
  // Iterations of one warp each that lie in one block, and the name of a thread's number.
  int rows_of_block_ = 1;
  std::string thread_ = "threadIdx.x";
  bool in_thread_loop_ = false;
  bool has_checks_ = false;
  bool has_barriers_ = false;
  bool has_copies_ = false;
  std::string arrivals_;  // the parameter where blocks that wait for each other count themselves
  // The parameter with the words that blocks wait for, who and when the block is among them, where
  // each buffer begins; whether something is missing of what is being printed, empty elsewhere.
  std::string words_, turn_, missing_;
  std::unordered_map<int, Dim> awaited_;
  Dim word_count_ = 0;
  bool copies_pieces_ = false;  // what is printed is where all of them are aligned
  std::string failed_;  // the label behind the thread loop, empty where a failed check returns
  bool uses_label_ = false;
  int temporaries_ = 0;
  int labels_ = 0;
  std::unordered_set<std::string> taken_;
  std::unordered_map<int, std::string> variables_;
  std::unordered_map<int, std::string> buffers_;
  std::unordered_map<std::uint64_t, std::string> sizes_;  // by DimAtom::identity
  std::vector<Dim> derived_sizes_;                        // that the host computes for the kernel
  std::vector<Dim> divisors_;                             // by which it lets the kernel divide
  std::vector<std::string> division_names_;               // of these
  std::string derived_parameters_, division_parameters_;
  loop::LetValues<std::string> lets_;  // their names
  // Neighbours that a thread has at a time: the names of their arrays, by Buffer::id.
  std::unordered_map<int, std::string> together_;
  const loop::For* neighbours_ = nullptr;  // the loop over them
  std::unordered_set<const loop::ExprNode*> indices_;
  std::unordered_map<const loop::ExprNode*, bool> plain_;
  std::unordered_set<int> loop_variables_;  // whose values are indices
  KernelIndices computed_indices_;
  std::vector<loop::Variable> written_out_;  // of unrolled loops that are being printed
  std::unordered_set<int> changed_;          // scalars that are accumulated into
  std::string combining_;                    // declarations of the shared memory for combining
  std::unordered_map<std::string, std::string> combining_names_;
};

std::string_view memory_type(DType dtype);  // of an element in memory

}  // namespace kroton::codegen
