// Statements and loops as CUDA C++.
#include <kroton/error.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>

#include "compiler/base/c_names.h"
#include "compiler/codegen/cuda/kernel_printer.h"
#include "compiler/loop/traverse.h"

namespace kroton::codegen {
namespace {

using loop::Expr;
using loop::Op;

constexpr int warp = 32;
// Threads of a processor that leave each of them enough registers: 64; 128, and 255, where arrays
// are held in them, of so many words or more.
constexpr int most_threads = 1024;
constexpr int large_block = 512;  // one of them: the next smaller number of registers is a half
constexpr int most_threads_with_arrays = 512;
constexpr int most_threads_with_large_arrays = 256;
constexpr std::int64_t few_words = 96;
constexpr std::int64_t hardly_any_words = 24;  // that leave room for as many threads as without
constexpr int most_blocks = 16;
constexpr std::int64_t widest = 16;  // access of a thread, in bytes
// Warps of a block that has rows of one each, where there are so many, or of a part of one.
constexpr int warps_of_rows = 4;
constexpr std::int64_t many_rows = 1024;
// Iterations of a thread that are written out.
constexpr std::int64_t most_rounds = 16;

// What a user's name must not be, beside words of C++ and its macros: names that the kernels use.
constexpr auto used = std::to_array<std::string_view>(
    {"threadIdx", "blockIdx", "blockDim", "gridDim",   "warpSize",     "fma",   "fmaf",
     "sqrt",      "sqrtf",    "floor",    "floorf",    "ceil",         "ceilf", "rint",
     "rintf",     "fabs",     "fabsf",    "atomicCAS", "kroton_error", "error"});

// A name of letters, digits and single underscores that begins with a letter.
std::string identifier(const std::string& wish) {
  std::string name = to_identifier(wish);
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name.front())) != 0 ||
      name.starts_with("kt_") || name.starts_with("Kt") || is_c_word(name)) {
    name.insert(0, "v_");
  }
  return name;
}

std::string_view functor(Op op) {
  switch (op) {
    case Op::add:
      return "KtAdd";
    case Op::mul:
      return "KtMul";
    case Op::min:
      return "KtMin";
    case Op::max:
      return "KtMax";
    case Op::logical_and:
      return "KtAnd";
    case Op::logical_or:
      return "KtOr";
    default:
      throw InternalError("CUDA: " + std::string(name_of(op)) + " does not accumulate");
  }
}

// What a loop accumulates of scalars from outside it.
struct Accumulated {
  std::vector<loop::Accumulate> plain;  // each variable once
  std::vector<loop::AccumulateArg> args;
};

Accumulated accumulated_in(const loop::For& loop) {
  std::unordered_set<int> known;
  loop::visit_statements(loop.body, [&](const loop::Stmt& s) {
    if (const auto* declare = std::get_if<loop::Declare>(&s)) known.insert(declare->variable.id);
  });
  Accumulated result;
  loop::visit_statements(loop.body, [&](const loop::Stmt& s) {
    if (const auto* one = std::get_if<loop::Accumulate>(&s)) {
      if (known.insert(one->variable.id).second) result.plain.push_back(*one);
    } else if (const auto* arg = std::get_if<loop::AccumulateArg>(&s)) {
      if (known.insert(arg->best.id).second) result.args.push_back(*arg);
    }
  });
  return result;
}

bool has_copy(const loop::Stmt& stmt) {
  bool found = false;
  loop::visit_statements(std::span(&stmt, 1), [&](const loop::Stmt& s) {
    found = found || std::holds_alternative<loop::Copy>(s);
  });
  return found;
}

// Whether it shows that the index is a multiple of the number.
bool is_multiple(const Expr& index, std::int64_t of) {
  std::int64_t known = 0;
  if (loop::is_integer_constant(index, known)) return known % of == 0;
  if (index->op == Op::size) {
    const std::vector<Dim::Term> terms = index->dim.terms();
    return std::all_of(terms.begin(), terms.end(),
                       [&](const Dim::Term& term) { return term.coefficient % of == 0; });
  }
  if (index->op == Op::add || index->op == Op::sub) {
    return is_multiple(index->args[0], of) && is_multiple(index->args[1], of);
  }
  if (index->op == Op::mul)
    return is_multiple(index->args[0], of) || is_multiple(index->args[1], of);
  return false;
}

// Words of 64 bits that an element takes, half of each being its value.
std::int64_t words_of(DType dtype) { return size_of(dtype) > 4 ? 2 : 1; }

// Whether it is a load of what blocks wait for, or a loop of such ones.
bool awaits(const loop::Stmt& stmt) {
  if (const auto* store = std::get_if<loop::Store>(&stmt)) {
    return store->value->op == Op::load && store->value->buffer->space == loop::Space::awaited;
  }
  const loop::For* loop = loop::as_for(stmt);
  bool any = false;
  return loop != nullptr &&
         std::all_of(loop->body.begin(), loop->body.end(),
                     [&](const loop::Stmt& s) {
                       const bool one = awaits(s);
                       any = any || one;
                       return one || std::holds_alternative<loop::Let>(s);
                     }) &&
         any;
}

bool reads(const loop::Block& block, const loop::Variable& variable) {
  bool found = false;
  loop::visit_expressions(block,
                          [&](const Expr& e) { found = found || loop::depends_on(e, variable); });
  return found;
}

}  // namespace

KernelPrinter::KernelPrinter(const Program& program, const loop::Kernel& kernel)
    : program_(program), kernel_(kernel) {
  for (const std::string_view word : used) taken_.emplace(word);
  taken_.insert(kernel.name);
}

std::string KernelPrinter::distinct(const std::string& wish) {
  const std::string base = identifier(wish);
  std::string name = base;
  for (int k = 1; !taken_.insert(name).second; ++k) name = base + "_" + std::to_string(k);
  return name;
}

const std::string& KernelPrinter::name_of(const loop::Variable& variable) {
  const auto found = variables_.find(variable.id);
  if (found != variables_.end()) return found->second;
  return variables_.emplace(variable.id, distinct(variable.name)).first->second;
}

const std::string& KernelPrinter::name_of(const loop::BufferRef& buffer) {
  const auto found = buffers_.find(buffer->id);
  if (found != buffers_.end()) return found->second;
  return buffers_.emplace(buffer->id, distinct(buffer->name)).first->second;
}

void KernelPrinter::line(const std::string& text) {
  body_.append(static_cast<std::size_t>(indent_) * 2, ' ');
  body_ += text + "\n";
}

void KernelPrinter::open(const std::string& text) {
  line(text);
  ++indent_;
}

void KernelPrinter::close(const std::string& text) {
  --indent_;
  line(text);
}

std::string KernelPrinter::combined(Op op, DType dtype, const std::string& a,
                                    const std::string& b) {
  const bool boolean = dtype == DType::boolean;
  switch (op) {
    case Op::add:
      return is_float(dtype) ? a + " + " + b : "kt_add(" + a + ", " + b + ")";
    case Op::mul:
      return is_float(dtype) ? a + " * " + b : "kt_mul(" + a + ", " + b + ")";
    case Op::min:
      return boolean ? a + " && " + b : "kt_min(" + a + ", " + b + ")";
    case Op::max:
      return boolean ? a + " || " + b : "kt_max(" + a + ", " + b + ")";
    default:
      return a + (op == Op::logical_and ? " && " : " || ") + b;
  }
}

void KernelPrinter::print_block(const loop::Block& block) {
  loop::LetValues<std::string>::Scope scope(lets_);
  for (const loop::Stmt& stmt : block) {
    if (const auto* let = std::get_if<loop::Let>(&stmt)) {
      print_let(*let, scope);
    } else {
      print_statement(stmt);
      scope.end_statement();
    }
  }
}

void KernelPrinter::print_statement(const loop::Stmt& stmt) {
  if (print_awaiting(stmt)) return;
  loop::visit(
      stmt, [](const loop::Let&) {}, [&](const loop::Declare& one) { print_declare(one); },
      [&](const loop::Allocate& allocate) { print_allocate(allocate); },
      [&](const loop::Store& store) { print_store(store); },
      [&](const loop::Accumulate& one) { print_accumulate(one); },
      [&](const loop::AccumulateArg& best) { print_accumulate(best); },
      [&](const loop::Barrier& barrier) { print_barrier(barrier); },
      [&](const loop::Copy& copy) { print_copy(copy); },
      [&](const loop::Multiply& tiles) { print_multiply(tiles); },
      [&](const loop::For& loop) { print_for(loop); },
      [&](const loop::If& branch) { print_if(branch); });
}

void KernelPrinter::print_if(const loop::If& branch) {
  open("if (" + text(branch.condition, Place::index) + ") {");
  print_block(branch.then_body);
  if (!branch.else_body.empty()) {
    --indent_;
    open("} else {");
    print_block(branch.else_body);
  }
  close();
}

void KernelPrinter::print_declare(const loop::Declare& s) {
  if (loop_variables_.contains(s.variable.id)) {
    line("const kt_index " + name_of(s.variable) + " = " + text(s.init, Place::index) + ";");
    return;
  }
  line(std::string(info_of(s.variable.dtype).cuda_type) + " " + name_of(s.variable) + " = " +
       text(s.init, Place::value) + ";");
}

void KernelPrinter::print_allocate(const loop::Allocate& s) {
  if (s.buffer->space == loop::Space::awaited) {
    awaited_[s.buffer->id] = word_count_;
    word_count_ = word_count_ + s.buffer->size * Dim(words_of(s.buffer->dtype));
    return;
  }
  const std::string type(memory_type(s.buffer->dtype));
  const std::string count = std::to_string(std::max<std::int64_t>(1, s.buffer->size.constant()));
  const bool counts = s.buffer->space == loop::Space::counters;
  if (s.buffer->space == loop::Space::shared || counts) {
    line("KROTON_SHARED(" + type + ", " + name_of(s.buffer) + ", " + count + ");");
    if (!counts) return;
    const std::string i = distinct("i");
    line("for (int " + i + " = threadIdx.x; " + i + " < " + count + "; " + i +
         " += " + std::to_string(threads_) + ") " + name_of(s.buffer) + "[" + i + "] = 0;");
    line("__syncthreads();");
  } else {
    line(type + " " + name_of(s.buffer) + "[" + count + "];");
  }
}

// An element of a buffer that blocks wait for: of which type, in which words.
std::string KernelPrinter::told_text(const loop::BufferRef& buffer, const Expr& index) {
  return std::string(memory_type(buffer->dtype)) + ", " + words_ + ", " +
         size_text(awaited_.at(buffer->id), Place::index, sum) + ", " + text(index, Place::index) +
         ", " + turn_;
}

// What waits is done again until nothing was missing: so all loads are under way at a time.
bool KernelPrinter::print_awaiting(const loop::Stmt& stmt) {
  if (words_.empty() || !missing_.empty() || !in_thread_loop_ || !awaits(stmt)) return false;
  missing_ = distinct("missing");
  line("bool " + missing_ + ";");
  open("do {");
  line(missing_ + " = false;");
  print_statement(stmt);
  close("} while (" + missing_ + ");");
  missing_.clear();
  return true;
}

// Outside thread loops all threads are at the same place: one of them stores.
void KernelPrinter::print_store(const loop::Store& s) {
  if (s.buffer->space == loop::Space::awaited) {
    line("KROTON_TELL(" + told_text(s.buffer, s.index) + ", " + text(s.value, Place::value) + ");");
    return;
  }
  if (s.buffer->space == loop::Space::counters) {
    line("KROTON_ATOMIC_ADD(" + name_of(s.buffer) + ", " + text(s.index, Place::index) + ", " +
         text(s.value, Place::value) + ");");
    return;
  }
  const std::string text_of_store =
      element_text(s.buffer, s.index) + " = " + text(s.value, Place::value) + ";";
  line((in_thread_loop_ ? "" : "if (" + thread_ + " == 0) ") + text_of_store);
}

void KernelPrinter::print_accumulate(const loop::Accumulate& s) {
  const std::string& name = name_of(s.variable);
  line(name + " = " +
       combined(s.op, s.variable.dtype, name, text(s.value, Place::value, product + 1)) + ";");
}

void KernelPrinter::print_accumulate(const loop::AccumulateArg& s) {
  const std::string value = distinct("value");
  const std::string at = distinct("at");
  line("const " + std::string(info_of(s.best.dtype).cuda_type) + " " + value + " = " +
       text(s.value, Place::value) + ";");
  line("const " + std::string(info_of(s.position.dtype).cuda_type) + " " + at + " = " +
       text(s.at, Place::value) + ";");
  open("if (kt_beats<" + std::string(s.maximum ? "true" : "false") + ">(" + value + ", " + at +
       ", " + name_of(s.best) + ", " + name_of(s.position) + ")) {");
  line(name_of(s.best) + " = " + value + ";");
  line(name_of(s.position) + " = " + at + ";");
  close();
}

void KernelPrinter::print_for(const loop::For& loop) {
  switch (loop.kind) {
    case loop::LoopKind::block:
      if (!words_.empty()) {
        line("const KtTurn " + turn_ + " = KROTON_TURN(" + words_ + ");");
        line("const kt_index " + name_of(loop.variable) + " = " + turn_ + ".block;");
      } else if (rows_of_block_ > 1) {
        print_row_of_block(loop);
      } else if (reads(loop.body, loop.variable)) {
        line("const " + type_of(loop.variable) + " " + name_of(loop.variable) + " = blockIdx.x;");
      }
      print_block(loop.body);
      return;
    case loop::LoopKind::thread:
      print_threads(loop);
      return;
    case loop::LoopKind::serial:
    case loop::LoopKind::unroll: {
      const std::string& i = name_of(loop.variable);
      if (loop.kind == loop::LoopKind::unroll) line("#pragma unroll");
      const std::string extent = loop.extent->op == Op::integer
                                     ? std::to_string(loop.extent->integer)
                                     : text(loop.extent, Place::index, sum);
      open("for (" + type_of(loop.variable) + " " + i + " = 0; " + i + " < " + extent + "; ++" + i +
           ") {");
      if (loop.kind == loop::LoopKind::unroll) written_out_.push_back(loop.variable);
      print_block(loop.body);
      if (loop.kind == loop::LoopKind::unroll) written_out_.pop_back();
      close();
      return;
    }
    case loop::LoopKind::vector:
      written_out_.push_back(loop.variable);
      print_together(loop);
      written_out_.pop_back();
      return;
    default:
      throw InternalError("kernel " + kernel_.name + " is scheduled for a CPU\n" +
                          to_string(kernel_));
  }
}

bool KernelPrinter::steps_by_one(const Expr& index, const loop::Variable& v) {
  const Expr stride = loop::stride_of(index, v);
  std::int64_t step = 0;
  return stride != nullptr && loop::is_integer_constant(stride, step) && step == 1;
}

// Neighbouring elements of a thread: those of arrays in which they are aligned come and go by one
// access each; where one is not, or at the end, one by one.
void KernelPrinter::print_together(const loop::For& loop) {
  struct Array {
    loop::BufferRef buffer;
    Expr first;
    bool read = false, written = false;
  };
  std::vector<Array> arrays;
  // What is read under a condition may lie outside: it is only read with what is read anyway.
  const auto note = [&](const loop::BufferRef& buffer, const Expr& index, bool writes,
                        bool is_conditional = false) {
    if (buffer->space != loop::Space::global || !steps_by_one(index, loop.variable)) return;
    const Expr first = loop::substitute(index, {{loop.variable, loop::integer(0)}});
    auto found = std::find_if(arrays.begin(), arrays.end(),
                              [&](const Array& array) { return array.buffer->id == buffer->id; });
    if (found == arrays.end()) {
      arrays.push_back({buffer, is_conditional ? nullptr : first});
      found = arrays.end() - 1;
    }
    // At two places: only one of them may be this array.
    if (found->first != first) found->first = nullptr;
    (writes ? found->written : found->read) = true;
  };
  std::unordered_set<const loop::ExprNode*> seen;
  std::vector<Expr> nodes;
  loop::visit_expressions(loop.body,
                          [&](const Expr& e) { loop::append_post_order(e, seen, nodes); });
  for (const Expr& e : nodes) {
    if (e->op == Op::load) note(e->buffer, e->args[0], false, loop::is_conditional(*e));
  }
  loop::visit_statements(loop.body, [&](const loop::Stmt& s) {
    if (const auto* store = std::get_if<loop::Store>(&s)) note(store->buffer, store->index, true);
  });
  std::erase_if(arrays, [](const Array& array) { return array.first == nullptr; });

  const std::string& k = name_of(loop.variable);
  const std::string count = std::to_string(loop.width);
  const auto one_by_one = [&] {
    line("#pragma unroll");
    open("for (" + type_of(loop.variable) + " " + k + " = 0; " + k + " < " + count + "; ++" + k +
         ") {");
    const bool all = loop.extent->op == Op::integer;
    if (!all) open("if (" + k + " < " + text(loop.extent, Place::index) + ") {");
    print_block(loop.body);
    if (!all) close();
    close();
  };
  // What watches an access says so where it fails: at the element's own.
  if (std::any_of(nodes.begin(), nodes.end(),
                  [](const Expr& e) { return loop::may_fail(e->op); })) {
    one_by_one();
    return;
  }
  std::string test;
  if (loop.extent->op != Op::integer) test = text(loop.extent, Place::index, sum) + " >= " + count;
  std::unordered_map<int, std::string> names;
  for (const Array& array : arrays) {
    const std::string bytes =
        std::to_string(std::min<std::int64_t>(widest, loop.width * size_of(array.buffer->dtype)));
    const bool is_even = is_multiple(array.first, loop.width);
    test += (test.empty() ? "" : " && ") + ("KROTON_ADDRESS(" + name_of(array.buffer) + ", ") +
            (is_even ? "0" : text(array.first, Place::index)) + ") % " + bytes + " == 0";
    names[array.buffer->id] = distinct(array.buffer->name + "_together");
  }
  if (test.empty()) test = "true";
  open("if (" + test + ") {");
  for (const Array& array : arrays) {
    const std::string& name = names.at(array.buffer->id);
    line(std::string(memory_type(array.buffer->dtype)) + " " + name + "[" + count + "];");
    if (!array.read) continue;
    line("KROTON_LOAD(" + name + ", " + name_of(array.buffer) + ", " +
         text(array.first, Place::index) + ");");
  }
  together_ = names;
  neighbours_ = &loop;
  line("#pragma unroll");
  open("for (" + type_of(loop.variable) + " " + k + " = 0; " + k + " < " + count + "; ++" + k +
       ") {");
  print_block(loop.body);
  close();
  neighbours_ = nullptr;
  together_.clear();
  for (const Array& array : arrays) {
    if (!array.written) continue;
    line("KROTON_STORE(" + name_of(array.buffer) + ", " + text(array.first, Place::index) + ", " +
         names.at(array.buffer->id) + ");");
  }
  --indent_;
  open("} else {");
  one_by_one();
  close();
}

std::string KernelPrinter::shared_for_combining(DType dtype, const std::string& role) {
  const std::string type(memory_type(dtype));
  std::string& name = combining_names_[type + role];
  if (name.empty()) {
    name = distinct("combining_" + std::string(kroton::name_of(dtype)) + role);
    combining_ +=
        "  KROTON_SHARED(" + type + ", " + name + ", " + std::to_string(threads_ / warp) + ");\n";
  }
  return name;
}

// The iterations that are this thread's.
void KernelPrinter::print_thread_loop(const loop::For& loop, const std::function<void()>& body) {
  const std::string& t = name_of(loop.variable);
  const std::string type = type_of(loop.variable);
  std::int64_t count = 0;
  const bool known = loop::is_integer_constant(loop.extent, count);
  std::int64_t bound = 0;
  const bool at_most_one =
      (known && count <= threads_) || (loop.extent->op == Op::min &&
                                       (loop::is_integer_constant(loop.extent->args[0], bound) ||
                                        loop::is_integer_constant(loop.extent->args[1], bound)) &&
                                       bound <= threads_);
  std::string extent = known ? std::to_string(count) : text(loop.extent, Place::index, sum);
  if (at_most_one) {
    // min(threads, rest): being one of the threads is true already.
    if (!known && bound == threads_) {
      const bool first = loop.extent->args[0]->op == Op::integer;
      extent = text(loop.extent->args[first ? 1 : 0], Place::index, sum);
    }
    const bool all = known && count == threads_;
    open(all ? "{" : "if (" + (known ? thread_ : number_of_thread()) + " < " + extent + ") {");
    if (reads(loop.body, loop.variable)) line("const " + type + " " + t + " = " + thread_ + ";");
    body();
    close();
    return;
  }
  const std::int64_t most = known ? count : bound;
  if (most > 0 && most <= most_rounds * threads_) {
    // With the number of rounds known, the loads of all of them may be under way at a time.
    const std::string n = distinct("n");
    const std::int64_t rounds = (most + threads_ - 1) / threads_;
    line("#pragma unroll");
    open("for (int " + n + " = 0; " + n + " < " + std::to_string(rounds) + "; ++" + n + ") {");
    line("const " + type + " " + t + " = " + thread_ + " + " + n + " * " +
         std::to_string(threads_) + ";");
    const bool all = known && count % threads_ == 0;
    if (!all) open("if (" + t + " < " + extent + ") {");
    body();
    if (!all) close();
    close();
    return;
  }
  open("for (" + type + " " + t + " = " + thread_ + "; " + t + " < " + extent + "; " + t +
       " += " + std::to_string(threads_) + ") {");
  body();
  close();
}

void KernelPrinter::print_threads(const loop::For& loop) {
  const Accumulated accumulated = accumulated_in(loop);
  // Each thread accumulates into scalars of its own under the same variables.
  std::unordered_map<int, std::string> outside;
  const auto own = [&](const loop::Variable& v, const std::string& init) {
    outside[v.id] = name_of(v);
    const std::string name = distinct(v.name + "_own");
    line(std::string(info_of(v.dtype).cuda_type) + " " + name + " = " + init + ";");
    variables_[v.id] = name;
  };
  for (const loop::Accumulate& a : accumulated.plain) {
    own(a.variable, text(loop::identity(a.op, a.variable.dtype), Place::value));
  }
  for (const loop::AccumulateArg& a : accumulated.args) {
    own(a.best, name_of(a.best));
    own(a.position, name_of(a.position));
  }
  if (std::any_of(loop.body.begin(), loop.body.end(), has_copy)) {
    print_copies(loop);
    return;
  }
  if (has_barriers_) failed_ = "failed_" + std::to_string(++labels_);
  uses_label_ = false;
  print_thread_loop(loop, [&] {
    in_thread_loop_ = true;
    print_block(loop.body);
    in_thread_loop_ = false;
  });
  if (uses_label_) line(failed_ + ":;");
  failed_.clear();
  const std::string lanes = threads_ < warp ? ", " + std::to_string(threads_) : "";
  for (const loop::Accumulate& a : accumulated.plain) {
    const std::string mine = variables_.at(a.variable.id);
    const DType dtype = a.variable.dtype;
    std::string total = "kt_combine<" + std::string(functor(a.op)) + lanes + ">(" + mine;
    if (threads_ > warp) total += ", " + shared_for_combining(dtype, "");
    const std::string& name = outside.at(a.variable.id);
    line(name + " = " + combined(a.op, dtype, name, total + ")") + ";");
    variables_[a.variable.id] = name;
  }
  for (const loop::AccumulateArg& a : accumulated.args) {
    std::string call = std::string("kt_combine_arg<") + (a.maximum ? "true" : "false") + lanes +
                       ">(" + variables_.at(a.best.id) + ", " + variables_.at(a.position.id);
    if (threads_ > warp) {
      call += ", " + shared_for_combining(a.best.dtype, "_best") + ", " +
              shared_for_combining(a.position.dtype, "_position");
    }
    line(call + ");");
    for (const loop::Variable& v : {a.best, a.position}) {
      line(outside.at(v.id) + " = " + variables_.at(v.id) + ";");
      variables_[v.id] = outside.at(v.id);
    }
  }
}

// Of the type of indices, which may be compared with what is below 0.
std::string KernelPrinter::number_of_thread() const {
  return rows_of_block_ > 1 ? thread_ : "(kt_index)" + thread_;
}

// Blocks that are to fit on a processor at a time: registers are to be as few as that takes, and
// not fewer, which would cost loads and stores of what has no register.
int KernelPrinter::blocks_at_a_time() const {
  bool has_shared = false;
  std::int64_t held = 0;  // words of arrays in registers, and of what matrix units multiply
  loop::visit_statements(kernel_.body, [&](const loop::Stmt& s) {
    if (const auto* units = std::get_if<loop::Multiply>(&s)) {
      held += (units->tile.warp_rows + units->tile.warp_columns) / 4;
    }
    const auto* array = std::get_if<loop::Allocate>(&s);
    has_shared =
        has_shared || (array != nullptr && (array->buffer->space == loop::Space::shared ||
                                            array->buffer->space == loop::Space::counters));
    if (array == nullptr || array->buffer->space != loop::Space::registers) return;
    held += array->buffer->size.constant() * size_of(array->buffer->dtype) / size_of(DType::i32);
  });
  const int own = threads_ * rows_of_block_;
  int threads = own < large_block ? most_threads : large_block;
  if (held > hardly_any_words || (held > 0 && has_shared))
    threads = held <= few_words ? most_threads_with_arrays : most_threads_with_large_arrays;
  return std::clamp(threads / own, 1, most_blocks);
}

// A processor has as many blocks of one warp as leave half of its warps out. So several rows of a
// warp each are one block, where there are many and they share no memory; so are rows of a part of
// a warp, which never do.
int KernelPrinter::rows_in_a_block(const Expr& count) const {
  std::int64_t known = 0;
  if (threads_ < warp) return warps_of_rows * warp / threads_;
  if (threads_ != warp || (loop::is_integer_constant(count, known) && known < many_rows)) return 1;
  bool is_apart = true;
  loop::visit_statements(kernel_.body, [&](const loop::Stmt& s) {
    const auto* array = std::get_if<loop::Allocate>(&s);
    is_apart = is_apart && !std::holds_alternative<loop::Copy>(s) &&
               !std::holds_alternative<loop::Multiply>(s) &&
               (array == nullptr || array->buffer->space == loop::Space::registers);
    const auto* barrier = std::get_if<loop::Barrier>(&s);
    is_apart = is_apart && (barrier == nullptr || !barrier->of_grid);
  });
  return is_apart ? warps_of_rows : 1;
}

void KernelPrinter::print_row_of_block(const loop::For& loop) {
  const std::string& row = name_of(loop.variable);
  const std::string rows = std::to_string(rows_of_block_);
  thread_ = distinct("lane");
  const std::string lanes = std::to_string(threads_);
  line("const kt_index " + thread_ + " = threadIdx.x % " + lanes + ";");
  line("const kt_index " + row + " = (kt_index)blockIdx.x * " + rows + " + threadIdx.x / " + lanes +
       ";");
  std::int64_t known = 0;
  const bool all = loop::is_integer_constant(loop.extent, known) && known % rows_of_block_ == 0;
  if (!all) line("if (" + row + " >= " + text(loop.extent, Place::index, sum) + ") return;");
}

CudaKernel KernelPrinter::run(std::string& source) {
  const loop::For* blocks = kernel_.body.empty() ? nullptr : loop::as_for(kernel_.body.back());
  if (blocks == nullptr || blocks->kind != loop::LoopKind::block) {
    throw InternalError("kernel " + kernel_.name + " has no schedule for a GPU\n" +
                        to_string(kernel_));
  }
  threads_ = blocks->width;
  CudaKernel result;
  result.name = kernel_.name;
  rows_of_block_ = rows_in_a_block(blocks->extent);
  result.blocks = blocks->extent;
  result.threads = threads_ * rows_of_block_;
  if (rows_of_block_ > 1) {
    const std::optional<Dim> rows = loop::as_dim(blocks->extent);
    const Expr of_block = loop::integer(rows_of_block_);
    result.blocks =
        rows ? loop::size(ceil_div(*rows, rows_of_block_))
             : loop::binary(Op::floor_div, blocks->extent + loop::integer(rows_of_block_ - 1),
                            of_block);
  }
  std::unordered_set<const loop::ExprNode*> seen;
  std::vector<Expr> nodes;
  loop::visit_expressions(kernel_.body,
                          [&](const Expr& e) { loop::append_post_order(e, seen, nodes); });
  has_checks_ =
      std::any_of(nodes.begin(), nodes.end(), [](const Expr& e) { return loop::may_fail(e->op); });
  loop::visit_statements(kernel_.body, [&](const loop::Stmt& s) {
    if (const auto* one = std::get_if<loop::Accumulate>(&s)) changed_.insert(one->variable.id);
    if (const auto* arg = std::get_if<loop::AccumulateArg>(&s)) {
      changed_.insert({arg->best.id, arg->position.id});
    }
    if (const auto* barrier = std::get_if<loop::Barrier>(&s)) {
      has_barriers_ = true;
      result.together = result.together || barrier->of_grid;
    }
    has_copies_ = has_copies_ || std::holds_alternative<loop::Copy>(s);
    const auto* array = std::get_if<loop::Allocate>(&s);
    result.in_order =
        result.in_order || (array != nullptr && array->buffer->space == loop::Space::awaited);
    has_barriers_ =
        has_barriers_ || (array != nullptr && array->buffer->space == loop::Space::counters);
    if (const loop::For* loop = loop::as_for(s); loop && loop->kind == loop::LoopKind::thread) {
      const Accumulated accumulated = accumulated_in(*loop);
      has_barriers_ = has_barriers_ || !accumulated.plain.empty() || !accumulated.args.empty();
    }
  });

  std::string parameters;
  const auto parameter = [&](const std::string& text) {
    parameters += (parameters.empty() ? "\n    " : ",\n    ") + text;
  };
  for (const auto* list : {&kernel_.inputs, &kernel_.outputs}) {
    for (const loop::BufferRef& buffer : *list) {
      const std::string type(memory_type(buffer->dtype));
      const bool is_read_only = list == &kernel_.inputs;
      parameter((result.together && !is_read_only ? "KROTON_COMMON(" : "KROTON_GLOBAL(") +
                std::string(is_read_only ? "const " : "") + type + ") " + name_of(buffer));
      result.buffers.push_back(buffer);
    }
  }
  for (const DimAtomRef& size : program_.sizes) {
    parameter("kt_index " + (sizes_[size->identity] = distinct(size->name)));
  }
  if (result.together) arrivals_ = distinct("arrivals");
  if (result.in_order) {
    words_ = distinct("words");
    turn_ = distinct("turn");
  }
  find_indices(kernel_.body);
  print_block(kernel_.body);
  result.words = word_count_;
  parameters += derived_parameters_ + division_parameters_;
  if (result.together) parameter("unsigned* " + arrivals_);
  if (result.in_order) parameter("KROTON_WORDS " + words_);
  parameter("kroton_error* error");
  result.derived_sizes = derived_sizes_;
  result.divisors = divisors_;
  for (const DimAtomRef& size : program_.sizes) {
    computed_indices_.sizes.push_back(Dim::from_terms({{1, {size}}}));
  }
  for (const Dim& size : derived_sizes_) computed_indices_.sizes.push_back(size);
  result.indices = std::move(computed_indices_);
  source += "\n";
  if (!kernel_.source.empty()) source += "// " + kernel_.source + "\n";
  source += "extern \"C\" __global__ void __launch_bounds__(" + std::to_string(result.threads) +
            ", " + std::to_string(blocks_at_a_time()) + ") " + kernel_.name + "(" + parameters +
            ") {\n";
  if (!has_checks_ && !program_.sites.empty()) source += "  if (error->code != 0) return;\n";
  source += combining_ + body_ + "}\n";
  return result;
}

}  // namespace kroton::codegen
