// Kernels as text; the grammar is in docs/loop_ir.md.
//
// `let` lines are notation: an expression that several places share is written once, before its
// first use, in the innermost block that holds all of its uses. What may change between two
// statements (a load from a buffer that the kernel writes, an accumulator) or fail (check_index,
// check) is shared within one statement only, so that the text means the same as the kernel.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <unordered_map>
#include <unordered_set>

#include "compiler/loop/ir.h"
#include "compiler/loop/scalar.h"
#include "compiler/loop/traverse.h"

namespace kroton::loop {
namespace {

constexpr int inline_limit = 12;  // nesting depth above which an expression gets a name

enum Precedence { any, disjunction, conjunction, negation, comparison, sum, product, prefix, atom };

bool is_leaf(const Expr& e) { return e->args.empty(); }

// Index arithmetic of at most five nodes, and loads at such an index, read best where they stand.
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

bool is_small(const Expr& e) { return index_cost(e->op == Op::load ? e->args[0] : e) <= 5; }

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
  using Nodes = std::unordered_set<const ExprNode*>;

  std::string distinct(const std::string& base);
  const std::string& name_of_variable(const Variable& v);
  const std::string& name_of_buffer(const BufferRef& buffer);

  void reserve_size_names(const Kernel& kernel);
  void find_pinned(const Kernel& kernel);
  bool is_pinned(const Expr& e) const;

  std::vector<Expr> choose_shared(const std::vector<Expr>& roots) const;
  std::vector<std::vector<Expr>> choose_shared(const Block& block);
  void bind(const Expr& e);
  void unbind(const std::vector<Expr>& exprs);

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
  int lets_ = 0;
  std::unordered_set<std::string> taken_;
  std::unordered_map<int, std::string> variables_;
  std::unordered_map<int, std::string> buffers_;
  std::unordered_map<const ExprNode*, std::string> bound_;  // the lets in sight
  Nodes pinned_;
  std::vector<int> scope_;  // ids of the variables in sight
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

void Printer::find_pinned(const Kernel& kernel) {
  std::unordered_set<int> written;
  std::unordered_set<int> accumulated;
  visit_statements(kernel.body, [&](const Stmt& s) {
    if (const auto* store = std::get_if<Store>(&s); store != nullptr && store->buffer != nullptr) {
      written.insert(store->buffer->id);
    }
    if (const auto* sum = std::get_if<Accumulate>(&s)) accumulated.insert(sum->variable.id);
    if (const auto* best = std::get_if<AccumulateArg>(&s)) {
      accumulated.insert(best->best.id);
      accumulated.insert(best->position.id);
    }
  });
  std::unordered_set<const ExprNode*> seen;
  std::vector<Expr> nodes;
  visit_expressions(kernel.body, [&](const Expr& e) {
    if (e != nullptr) append_post_order(e, seen, nodes);
  });
  for (const Expr& e : nodes) {
    const bool changes = (e->op == Op::load && written.contains(e->buffer->id)) ||
                         (e->op == Op::variable && accumulated.contains(e->variable.id)) ||
                         may_fail(e->op);
    if (changes || std::any_of(e->args.begin(), e->args.end(),
                               [&](const Expr& arg) { return is_pinned(arg); })) {
      pinned_.insert(e.get());
    }
  }
}

bool Printer::is_pinned(const Expr& e) const { return pinned_.contains(e.get()); }

// What one statement with these expressions writes more than once, or nests too deeply.
std::vector<Expr> Printer::choose_shared(const std::vector<Expr>& roots) const {
  std::unordered_map<const ExprNode*, int> uses;
  Nodes seen;
  for (const auto& [e, name] : bound_) seen.insert(e);
  std::vector<Expr> order;
  for (const Expr& root : roots) {
    if (root == nullptr) continue;
    ++uses[root.get()];
    append_post_order(root, seen, order);
  }
  for (const Expr& e : order) {
    for (const Expr& arg : e->args) ++uses[arg.get()];
  }
  std::vector<Expr> chosen;
  std::unordered_map<const ExprNode*, int> depths;
  for (const Expr& e : order) {
    int depth = 1;
    for (const Expr& arg : e->args) depth = std::max(depth, depths[arg.get()] + 1);
    if (is_leaf(e)) continue;
    if ((uses[e.get()] > 1 && !is_small(e)) || depth > inline_limit) {
      chosen.push_back(e);
      depth = 0;
    }
    depths[e.get()] = depth;
  }
  return chosen;
}

// For every statement of the block, what is named right before it: expressions that two statements
// of the block share, wherever nested, and that have a meaning at the block's level.
std::vector<std::vector<Expr>> Printer::choose_shared(const Block& block) {
  struct Use {
    std::size_t first = 0;
    bool shared = false;  // by two statements
  };
  std::unordered_set<int> in_sight(scope_.begin(), scope_.end());
  for (const Stmt& s : block) {
    if (const auto* declare = std::get_if<Declare>(&s)) in_sight.insert(declare->variable.id);
  }
  std::unordered_map<const ExprNode*, Use> uses;
  std::unordered_map<const ExprNode*, bool> bindable;
  std::vector<Expr> order;
  const auto note = [&](const Expr& e, std::size_t at) {
    const auto [use, is_new] = uses.try_emplace(e.get(), Use{at, false});
    use->second.shared = use->second.shared || use->second.first != at;
    return is_new;
  };
  for (std::size_t at = 0; at < block.size(); ++at) {
    Nodes seen;
    for (const auto& [e, name] : bound_) seen.insert(e);
    std::vector<Expr> nodes;
    const Block single{block[at]};
    visit_expressions(single, [&](const Expr& root) {
      if (root != nullptr) append_post_order(root, seen, nodes);
    });
    for (const Expr& e : nodes) {
      if (!note(e, at)) continue;
      const bool meaningful = !is_pinned(e) &&
                              (e->op != Op::variable || in_sight.contains(e->variable.id)) &&
                              std::all_of(e->args.begin(), e->args.end(), [&](const Expr& arg) {
                                return bound_.contains(arg.get()) || bindable[arg.get()];
                              });
      bindable[e.get()] = meaningful;
      order.push_back(e);
    }
  }
  // Of two shared expressions, one inside the other, the inner one is named only if it has a use
  // of its own: a user that is not itself named, or a second one.
  std::unordered_map<const ExprNode*, int> users;
  for (const Expr& e : order) {
    for (const Expr& arg : e->args) ++users[arg.get()];
  }
  Nodes named;
  for (auto e = order.rbegin(); e != order.rend(); ++e) {
    const Use& use = uses[e->get()];
    if (use.shared && bindable[e->get()] && !is_small(*e)) named.insert(e->get());
  }
  const auto is_root = [&] {
    Nodes roots;
    visit_expressions(block, [&](const Expr& e) { roots.insert(e.get()); });
    return roots;
  }();
  std::unordered_map<const ExprNode*, bool> under_named;
  for (const Expr& e : order) {
    for (const Expr& arg : e->args) {
      if (named.contains(e.get())) under_named[arg.get()] = true;
    }
  }
  std::vector<std::vector<Expr>> result(block.size());
  for (const Expr& e : order) {
    if (!named.contains(e.get())) continue;
    const bool inside_one =
        users[e.get()] == 1 && under_named[e.get()] && !is_root.contains(e.get());
    if (!inside_one) result[uses[e.get()].first].push_back(e);
  }
  return result;
}

// Writes the line `let tN = e`.
void Printer::bind(const Expr& e) {
  std::string name = distinct("t" + std::to_string(++lets_));
  line();
  out_ += "let " + name + " = ";
  write(e, any);
  out_ += '\n';
  bound_.emplace(e.get(), std::move(name));
}

void Printer::unbind(const std::vector<Expr>& exprs) {
  for (const Expr& e : exprs) bound_.erase(e.get());
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
  if (const auto found = bound_.find(e.get()); found != bound_.end()) {
    out_ += found->second;
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
  const std::size_t outer_scope = scope_.size();
  std::vector<Expr> named;
  const std::vector<std::vector<Expr>> shared = choose_shared(block);
  for (std::size_t k = 0; k < block.size(); ++k) {
    for (const Expr& e : shared[k]) {
      bind(e);
      named.push_back(e);
    }
    std::vector<Expr> roots;
    visit_own_expressions(block[k], [&](const Expr& e) { roots.push_back(e); });
    const std::vector<Expr> own = choose_shared(roots);
    for (const Expr& e : own) bind(e);
    write_statement(block[k]);
    unbind(own);
  }
  unbind(named);
  scope_.resize(outer_scope);
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
  scope_.push_back(loop.variable.id);
  write_block(loop.body);
  scope_.pop_back();
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
  if (const auto* declare = std::get_if<Declare>(&s)) {
    out_ += "var " + name_of_variable(declare->variable) + ": " +
            std::string(kroton::name_of(declare->variable.dtype)) + " = ";
    write(declare->init, any);
    scope_.push_back(declare->variable.id);
  } else if (const auto* allocate = std::get_if<Allocate>(&s)) {
    bool first = true;
    write_buffers(role_of(allocate->buffer), {allocate->buffer}, first);
  } else if (const auto* store = std::get_if<Store>(&s)) {
    out_ += (store->buffer == nullptr ? "<null>" : name_of_buffer(store->buffer)) + "[";
    write(store->index, any);
    out_ += "] = ";
    write(store->value, any);
  } else if (const auto* sum = std::get_if<Accumulate>(&s)) {
    out_ += name_of_variable(sum->variable);
    out_ += accumulation(sum->op);
    write(sum->value, any);
  } else if (const auto* best = std::get_if<AccumulateArg>(&s)) {
    out_ += "(" + name_of_variable(best->best) + ", " + name_of_variable(best->position) + ") " +
            (best->maximum ? "argmax" : "argmin") + "= (";
    write(best->value, any);
    out_ += ", ";
    write(best->at, any);
    out_ += ')';
  } else if (std::holds_alternative<Barrier>(s)) {
    out_ += "barrier";
  } else if (const For* loop = as_for(s)) {
    return write_loop(*loop);
  } else if (const If* branch = as_if(s)) {
    return write_branch(*branch);
  }
  out_ += '\n';
}

std::string Printer::expression(const Expr& root) {
  const std::vector<Expr> shared = choose_shared(std::vector<Expr>{root});
  std::string where;
  for (const Expr& e : shared) {
    if (e == root) continue;
    write(e, any);
    std::string name = distinct("t" + std::to_string(++lets_));
    where += (where.empty() ? " where " : ", ") + name + " = " + out_;
    out_.clear();
    bound_.emplace(e.get(), std::move(name));
  }
  write(root, any);
  return out_ + where;
}

std::string Printer::kernel(const Kernel& kernel) {
  reserve_size_names(kernel);
  find_pinned(kernel);
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
  write_block(kernel.body);
  return out_ + "}\n";
}

}  // namespace

std::string to_string(const Expr& e) { return Printer().expression(e); }
std::string to_string(const Kernel& kernel) { return Printer().kernel(kernel); }

}  // namespace kroton::loop
