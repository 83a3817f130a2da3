// Kernels as text; the grammar is in docs/loop_ir.md. Values stand where place_values has them
// computed; index arithmetic of a few nodes is written where it is used all the same.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <unordered_map>
#include <unordered_set>

#include "compiler/loop/ir.h"
#include "compiler/loop/place_values.h"
#include "compiler/loop/scalar.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

constexpr int inline_limit = 12;  // of an expression alone: nesting from which a part has a name

enum Precedence { any, disjunction, conjunction, negation, comparison, sum, product, prefix, atom };

bool is_leaf(const Expr& e) { return e->args.empty(); }

// Index arithmetic of at most five nodes reads best where it stands.
int index_cost(const Expr& e) {
  if (is_leaf(e)) return 1;
  constexpr int too_much = 6;
  if (e->dtype != DType::i64 || e->op == Op::load || may_fail(e->op)) return too_much;
  int cost = 1;
  for (const Expr& arg : e->args) {
    if (cost >= too_much) break;
    cost += index_cost(arg);
  }
  return cost;
}

bool is_small(const Expr& e) { return index_cost(e) <= 5; }

std::string real_text(double value, DType dtype) {
  std::string result = digits_of({value, 0}, dtype);
  if (std::isfinite(value) && result.find_first_of(".e") == std::string::npos) result += ".0";
  return result;
}

class Printer {
 public:
  std::string expression(const Expr& root);
  std::string kernel(const Kernel& kernel);

 private:
  std::string distinct(const std::string& base);
  const std::string& name_of_variable(const Variable& v);
  const std::string& name_of_buffer(const BufferRef& buffer);

  void reserve_size_names(const Kernel& kernel);
  std::vector<Expr> choose_shared(const Expr& root) const;
  std::string next_let() { return distinct("t" + std::to_string(++lets_made_)); }
  void write_let(const Let& let, LetValues<std::string>::Scope& scope);

  void write(const Expr& e, int outer);
  void write_infix(const Expr& e, std::string_view op, int level, int outer);
  void write_call(std::string_view function, const Expr& e);
  void write_buffers(std::string_view role, const std::vector<BufferRef>& buffers, bool& first);
  void write_block(const Block& block);
  void write_statement(const Stmt& s);
  void write_loop(const For& loop);
  void write_branch(const If& branch);
  void line() { out_.append(static_cast<std::size_t>(indent_) * 2, ' '); }

  std::string out_;
  int indent_ = 0;
  int lets_made_ = 0;
  std::unordered_set<std::string> taken_;
  std::unordered_map<int, std::string> variables_;
  std::unordered_map<int, std::string> buffers_;
  LetValues<std::string> lets_;  // the names of those in sight
};

std::string Printer::distinct(const std::string& base) {
  std::string name = base.empty() ? "v" : base;
  for (int k = 1; !taken_.insert(name).second; ++k) name = base + "_" + std::to_string(k);
  return name;
}

// Names are given in the order of appearance, so that equal kernels print alike whatever their ids.
const std::string& Printer::name_of_variable(const Variable& v) {
  const auto found = variables_.find(v.id);
  if (found != variables_.end()) return found->second;
  return variables_.emplace(v.id, distinct(v.name)).first->second;
}

const std::string& Printer::name_of_buffer(const BufferRef& buffer) {
  const auto found = buffers_.find(buffer->id);
  if (found != buffers_.end()) return found->second;
  return buffers_.emplace(buffer->id, distinct(buffer->name)).first->second;
}

void Printer::reserve_size_names(const Kernel& kernel) {
  const auto reserve = [&](const Dim& dim) {
    dim.visit_variables([&](const DimAtomRef& atom) { taken_.insert(atom->name); });
  };
  for (const auto* list : {&kernel.inputs, &kernel.outputs, &kernel.scratch}) {
    for (const BufferRef& buffer : *list) {
      if (buffer != nullptr) reserve(buffer->size);
    }
  }
  std::unordered_set<const ExprNode*> seen;
  std::vector<Expr> nodes;
  visit_expressions(kernel.body, [&](const Expr& e) {
    if (e != nullptr) append_post_order(e, seen, nodes);
  });
  for (const Expr& e : nodes) {
    if (e->op == Op::size) reserve(e->dim);
  }
}

// What the text of the expression holds more than once, or nests too deeply.
std::vector<Expr> Printer::choose_shared(const Expr& root) const {
  const std::vector<Expr> order = post_order(std::span(&root, 1));
  std::unordered_map<const ExprNode*, int> uses;
  for (const Expr& e : order) {
    for (const Expr& arg : e->args) ++uses[arg.get()];
  }
  std::vector<Expr> chosen;
  std::unordered_map<const ExprNode*, int> depths;
  for (const Expr& e : order) {
    int depth = 1;
    for (const Expr& arg : e->args) depth = std::max(depth, depths[arg.get()] + 1);
    if (is_leaf(e)) continue;
    const bool small = is_small(e->op == Op::load ? e->args[0] : e);
    if ((uses[e.get()] > 1 && !small) || depth > inline_limit) {
      chosen.push_back(e);
      depth = 0;
    }
    depths[e.get()] = depth;
  }
  return chosen;
}

void Printer::write_let(const Let& let, LetValues<std::string>::Scope& scope) {
  if (is_small(let.value)) return;
  scope.hide(let);
  std::string name = next_let();
  line();
  out_ += (let.life == Let::Life::loop ? "once let " : "let ") + name + " = ";
  write(let.value, any);
  out_ += '\n';
  scope.let(let, std::move(name));
}

void Printer::write_infix(const Expr& e, std::string_view op, int level, int outer) {
  if (level < outer) out_ += '(';
  write(e->args[0], level == comparison ? level + 1 : level);
  out_ += op;
  // The right operand of the same level keeps its parentheses: a + (b + c) is another sum.
  write(e->args[1], level + 1);
  if (level < outer) out_ += ')';
}

void Printer::write_call(std::string_view function, const Expr& e) {
  out_ += function;
  out_ += '(';
  for (std::size_t k = 0; k < e->args.size(); ++k) {
    if (k > 0) out_ += ", ";
    write(e->args[k], any);
  }
  if (may_fail(e->op)) out_ += ", site " + std::to_string(e->integer);
  out_ += ')';
}

void Printer::write(const Expr& e, int outer) {
  if (e == nullptr) {
    out_ += "<null>";
    return;
  }
  if (const std::string* name = lets_.find(e.get())) {
    out_ += *name;
    return;
  }
  switch (e->op) {
    case Op::real:
      out_ += real_text(e->real, e->dtype);
      return;
    case Op::integer:
      if (e->dtype == DType::boolean) {
        out_ += e->integer != 0 ? "true" : "false";
      } else {
        out_ += digits_of({0, e->integer}, e->dtype);
      }
      return;
    case Op::variable:
      out_ += name_of_variable(e->variable);
      return;
    case Op::size: {
      const bool bare = e->dim.as_variable() != nullptr || outer == any;
      out_ += bare ? e->dim.to_string() : "(" + e->dim.to_string() + ")";
      return;
    }
    case Op::load:
      out_ += name_of_buffer(e->buffer) + "[";
      write(e->args[0], any);
      if (is_conditional(*e)) {
        out_ += " if ";
        write(e->args[1], any);
      }
      out_ += ']';
      return;
    case Op::add:
      if (e->args[1]->op == Op::integer && e->args[1]->integer < 0 &&
          e->args[1]->integer != INT64_MIN) {
        if (sum < outer) out_ += '(';
        write(e->args[0], sum);
        out_ += " - " + std::to_string(-e->args[1]->integer);
        if (sum < outer) out_ += ')';
        return;
      }
      return write_infix(e, " + ", sum, outer);
    case Op::sub:
      return write_infix(e, " - ", sum, outer);
    case Op::mul: {
      const bool is_index = e->dtype == DType::i64;
      return write_infix(e, is_index ? "*" : " * ", product, outer);
    }
    case Op::div:
      return write_infix(e, " / ", product, outer);
    case Op::eq:
      return write_infix(e, " == ", comparison, outer);
    case Op::ne:
      return write_infix(e, " != ", comparison, outer);
    case Op::lt:
      return write_infix(e, " < ", comparison, outer);
    case Op::le:
      return write_infix(e, " <= ", comparison, outer);
    case Op::logical_and:
      return write_infix(e, " and ", conjunction, outer);
    case Op::logical_or:
      return write_infix(e, " or ", disjunction, outer);
    case Op::logical_not:
    case Op::neg: {
      const int level = e->op == Op::neg ? prefix : negation;
      if (level < outer) out_ += '(';
      out_ += e->op == Op::neg ? "-" : "not ";
      write(e->args[0], level + 1);
      if (level < outer) out_ += ')';
      return;
    }
    case Op::cast:
      return write_call(kroton::name_of(e->dtype), e);
    case Op::bitcast:
      return write_call("bits_" + std::string(kroton::name_of(e->dtype)), e);
    default:
      return write_call(name_of(e->op), e);
  }
}

void Printer::write_buffers(std::string_view role, const std::vector<BufferRef>& buffers,
                            bool& first) {
  for (const BufferRef& buffer : buffers) {
    if (!first) out_ += ", ";
    first = false;
    if (buffer == nullptr) {
      out_ += "<null>";
      continue;
    }
    out_ += role;
    out_ += name_of_buffer(buffer) + ": " + std::string(kroton::name_of(buffer->dtype)) + "[" +
            buffer->size.to_string() + "]";
  }
}

void Printer::write_block(const Block& block) {
  ++indent_;
  LetValues<std::string>::Scope scope(lets_);
  for (const Stmt& s : block) {
    if (const auto* let = std::get_if<Let>(&s)) {
      write_let(*let, scope);
    } else {
      write_statement(s);
      scope.end_statement();
    }
  }
  --indent_;
}

void Printer::write_loop(const For& loop) {
  const int copies = loop.interleave;
  switch (loop.kind) {
    case LoopKind::serial:
      break;
    case LoopKind::parallel:
      out_ += "parallel ";
      break;
    case LoopKind::vector:
      out_ += "vector<" + std::to_string(loop.width) +
              (copies > 1 ? " x" + std::to_string(copies) : "") +
              (loop.unrolled > 0 ? " unrolled " + std::to_string(loop.unrolled) : "") + "> ";
      break;
    case LoopKind::unroll:
      out_ += "unroll ";
      break;
    case LoopKind::block:
      out_ += "block<" + std::to_string(loop.width) + "> ";
      break;
    case LoopKind::thread:
      out_ += "thread ";
      break;
  }
  out_ += "for " + name_of_variable(loop.variable) + " in 0..";
  write(loop.extent, atom);
  out_ += " {\n";
  write_block(loop.body);
  line();
  out_ += "}\n";
}

void Printer::write_branch(const If& branch) {
  out_ += "if ";
  write(branch.condition, any);
  out_ += " {\n";
  write_block(branch.then_body);
  if (!branch.else_body.empty()) {
    line();
    out_ += "} else {\n";
    write_block(branch.else_body);
  }
  line();
  out_ += "}\n";
}

std::string_view role_of(const BufferRef& buffer) {
  if (buffer != nullptr && buffer->space == Space::registers) return "registers ";
  if (buffer != nullptr && buffer->space == Space::stack) return "stack ";
  if (buffer != nullptr && buffer->space == Space::awaited) return "awaited ";
  if (buffer != nullptr && buffer->space == Space::counters) return "counters ";
  return buffer != nullptr && buffer->space == Space::shared ? "shared " : "worker ";
}

std::string_view accumulation(Op op) {
  switch (op) {
    case Op::add:
      return " += ";
    case Op::mul:
      return " *= ";
    case Op::min:
      return " min= ";
    case Op::max:
      return " max= ";
    case Op::logical_and:
      return " and= ";
    case Op::logical_or:
      return " or= ";
    default:
      return " <not associative>= ";
  }
}

void Printer::write_statement(const Stmt& s) {
  line();
  visit(
      s, [](const Let&) {},
      [&](const Declare& one) {
        out_ += "var " + name_of_variable(one.variable) + ": " +
                std::string(kroton::name_of(one.variable.dtype)) + " = ";
        write(one.init, any);
        out_ += '\n';
      },
      [&](const Allocate& allocate) {
        bool first = true;
        write_buffers(role_of(allocate.buffer), {allocate.buffer}, first);
        out_ += '\n';
      },
      [&](const Store& store) {
        out_ += (store.buffer == nullptr ? "<null>" : name_of_buffer(store.buffer)) + "[";
        write(store.index, any);
        const bool adds = store.buffer != nullptr && store.buffer->space == Space::counters;
        out_ += adds ? "] += " : "] = ";
        write(store.value, any);
        out_ += '\n';
      },
      [&](const Accumulate& sum) {
        out_ += name_of_variable(sum.variable);
        out_ += accumulation(sum.op);
        write(sum.value, any);
        out_ += '\n';
      },
      [&](const AccumulateArg& best) {
        out_ += "(" + name_of_variable(best.best) + ", " + name_of_variable(best.position) + ") " +
                (best.maximum ? "argmax" : "argmin") + "= (";
        write(best.value, any);
        out_ += ", ";
        write(best.at, any);
        out_ += ")\n";
      },
      [&](const Barrier& barrier) {
        out_ += barrier.of_grid ? "barrier of the grid" : "barrier";
        if (barrier.under_way > 0) out_ += " but " + std::to_string(barrier.under_way);
        out_ += '\n';
      },
      [&](const Copy& copy) {
        out_ += "copy<" + std::to_string(copy.count) + "> " + name_of_buffer(copy.to) + "[";
        write(copy.to_index, any);
        out_ += "] = " + name_of_buffer(copy.from) + "[";
        write(copy.from_index, any);
        out_ += "], ";
        write(copy.available, any);
        out_ += " there, aligned if ";
        write(copy.aligned, any);
        out_ += '\n';
      },
      [&](const Multiply& one) {
        const MatrixTile& tile = one.tile;
        const auto sizes = [](int a, int b) { return std::to_string(a) + "x" + std::to_string(b); };
        out_ += "multiply<" + sizes(tile.rows, tile.columns) + "x" + std::to_string(tile.depth) +
                ", warps " + sizes(tile.warp_rows, tile.warp_columns) + "> " +
                name_of_buffer(one.sums) + " += " + name_of_buffer(one.a) + "[";
        write(one.a_start, any);
        out_ += tile.a_runs_inner ? "] * " : " transposed] * ";
        out_ += name_of_buffer(one.b) + "[";
        write(one.b_start, any);
        out_ += tile.b_runs_inner ? " transposed]\n" : "]\n";
      },
      [&](const For& loop) { write_loop(loop); }, [&](const If& branch) { write_branch(branch); });
}

std::string Printer::expression(const Expr& root) {
  LetValues<std::string>::Scope scope(lets_);
  std::string where;
  for (const Expr& e : choose_shared(root)) {
    if (e == root) continue;
    write(e, any);
    std::string name = next_let();
    where += (where.empty() ? " where " : ", ") + name + " = " + out_;
    out_.clear();
    scope.let({e}, std::move(name));
  }
  write(root, any);
  return out_ + where;
}

std::string Printer::kernel(const Kernel& kernel) {
  reserve_size_names(kernel);
  if (!kernel.source.empty()) out_ += "# " + kernel.source + "\n";
  out_ += "kernel " + kernel.name + "(";
  bool first = true;
  write_buffers("in ", kernel.inputs, first);
  write_buffers("out ", kernel.outputs, first);
  write_buffers("worker ", kernel.scratch, first);
  out_ += ")";
  if (kernel.work != nullptr) {
    out_ += " work ";
    write(kernel.work, atom);
  }
  out_ += " {\n";
  write_block(place_values(kernel).body);
  return out_ + "}\n";
}

}  // namespace

std::string to_string(const Expr& e) { return Printer().expression(e); }
std::string to_string(const Kernel& kernel) { return Printer().kernel(kernel); }

}  // namespace kroton::loop
