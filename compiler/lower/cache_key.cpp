#include "compiler/lower/cache_key.h"

#include <algorithm>
#include <bit>
#include <unordered_map>

#include "compiler/loop/traverse.h"

namespace kroton {
namespace {

// Seven bits a byte, the last one below 128.
void append(std::string& bytes, std::uint64_t value) {
  for (; value >= 128; value >>= 7) bytes += static_cast<char>(value | 128);
  bytes += static_cast<char>(value);
}

// Small magnitudes become small numbers.
std::uint64_t folded(std::int64_t value) {
  return (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
}

std::string joined(const std::vector<std::string>& parts) {
  std::string bytes;
  append(bytes, parts.size());
  for (const std::string& part : parts) {
    append(bytes, part.size());
    bytes += part;
  }
  return bytes;
}

std::string sorted(std::vector<std::string> parts) {
  std::sort(parts.begin(), parts.end());
  return joined(parts);
}

// The structures are taken apart by structured bindings, which no longer compile when a member is
// added: whoever adds one decides here whether the object depends on it.
class KeyWriter {
 public:
  explicit KeyWriter(const Program& program) : program_(program) {}

  KernelForm form(const loop::Kernel& kernel) {
    is_form_ = true;
    number_sizes();
    block(kernel.body);
    expression(kernel.work);
    for (const loop::BufferRef& b : parameters_) {
      if (b->space == loop::Space::worker) dim(program_.placements.at(b->id).stride);
    }
    flush();
    return {hash_.finish(), std::move(parameters_), std::move(reals_)};
  }

  KernelForm form(const OpenKernel& open) {
    is_form_ = is_open_ = true;
    number_sizes();
    number(open.numbers.size());
    for (const loop::Variable& v : open.numbers) variable(v);
    block(open.body);
    for (const loop::BufferRef& b : parameters_) {
      if (b->space == loop::Space::worker) dim(program_.placements.at(b->id).stride);
    }
    flush();
    reals_.insert(reals_.end(), open.values.begin(), open.values.end());
    return {hash_.finish(), std::move(parameters_), std::move(reals_)};
  }

  Digest run(const std::vector<std::string>& target) {
    text(compiler_id());
    number(target.size());
    for (const std::string& part : target) text(part);
    const auto& [name, inputs, states, updated, outputs, constants, sizes, all_steps, placements,
                 arena_bytes, sites, profile] = program_;
    text(name);
    number(inputs.size());
    number(states.size());
    number(outputs.size());
    number(updated.size());
    number(sizes.size());
    number_sizes();
    steps(all_steps);
    number(constants.size());
    for (const Array& constant : constants) {
      const Array values = constant.contiguous();
      number(static_cast<std::uint64_t>(values.nbytes()));
      flush();
      hash_.update(values.raw(), static_cast<std::size_t>(values.nbytes()));
    }
    number(placements.size());
    dim(arena_bytes);
    number(sites.size());
    number(profile ? 1 : 0);
    flush();
    return hash_.finish();
  }

 private:
  // By their positions in the entry's `sizes`.
  void number_sizes() {
    for (const DimAtomRef& atom : program_.sizes) atoms_.emplace(atom->identity, atoms_.size());
  }

  void number(std::uint64_t value) {
    append(bytes_, value);
    if (bytes_.size() > 1 << 16) flush();
  }
  template <class Enum>
    requires std::is_enum_v<Enum>
  void tag(Enum value) {
    number(static_cast<std::uint64_t>(value));
  }
  void integer(std::int64_t value) { number(folded(value)); }
  void text(const std::string& value) {
    number(value.size());
    bytes_ += value;
  }
  void flush() {
    hash_.update(bytes_);
    bytes_.clear();
  }

  void dim(const Dim& value) { bytes_ += dim_bytes(value); }

  // Terms, factors and the operands of minimum and maximum in an order of their own: a Dim has them
  // in the order in which the process made the variables.
  std::string dim_bytes(const Dim& value) {
    std::vector<std::string> terms;
    for (const auto& [coefficient, factors] : value.terms()) {
      std::vector<std::string> atoms;
      for (const DimAtomRef& factor : factors) atoms.push_back(atom_bytes(*factor));
      std::string& term = terms.emplace_back();
      append(term, folded(coefficient));
      term += sorted(std::move(atoms));
    }
    return sorted(std::move(terms));
  }

  std::string atom_bytes(const DimAtom& atom) {
    const auto& [kind, identity, name, operands] = atom;
    std::string bytes;
    append(bytes, static_cast<std::uint64_t>(kind));
    if (atom.is_variable()) {
      append(bytes, atoms_.emplace(identity, atoms_.size()).first->second);
      return bytes;
    }
    // Sizes of nested joins have operations within operations, each many times.
    std::string& known = operations_[&atom];
    if (!known.empty()) return known;
    std::vector<std::string> parts;
    for (const Dim& operand : operands) parts.push_back(dim_bytes(operand));
    bytes += kind == DimAtom::Kind::floor_div ? joined(parts) : sorted(std::move(parts));
    if (bytes.size() > longest_operation) {
      const Digest digest = sha256(bytes);
      bytes.assign(digest.begin(), digest.end());
    }
    return operations_[&atom] = bytes;
  }

  void variable(const loop::Variable& value) {
    const auto& [id, dtype, name] = value;
    number(variables_.emplace(id, variables_.size()).first->second);
    tag(dtype);
  }

  void buffer(const loop::BufferRef& value) {
    const auto& [id, name, dtype, size, space] = *value;
    const auto [known, is_new] = buffers_.emplace(id, buffers_.size());
    number(known->second);
    if (!is_new) return;
    tag(dtype);
    if (!is_open_ || space != loop::Space::global) dim(size);
    tag(space);
    if (is_form_) {
      if (space == loop::Space::global || space == loop::Space::worker)
        parameters_.push_back(value);
      return;
    }
    const auto place = program_.placements.find(id);
    number(place != program_.placements.end() ? 1 : 0);
    if (place == program_.placements.end()) return;
    const auto& [kind, argument, offset, stride, of, start] = place->second;
    tag(kind);
    integer(argument);
    dim(offset);
    dim(stride);
    if (kind != Placement::Kind::part) return;
    buffer(of);
    expression(start);
  }

  void expression(const loop::Expr& root) {
    number(root != nullptr ? 1 : 0);
    if (root == nullptr) return;
    std::vector<loop::Expr> fresh;
    loop::append_post_order(root, written_, fresh);
    number(fresh.size());
    for (const loop::Expr& e : fresh) {
      numbers_.emplace(e.get(), numbers_.size());
      const auto& [op, dtype, args, real, constant, name, size, loaded] = *e;
      tag(op);
      tag(dtype);
      number(args.size());
      for (const loop::Expr& arg : args) number(numbers_.at(arg.get()));
      integer(constant);
      if (op == loop::Op::real && is_form_) reals_.push_back(e);
      if (op == loop::Op::real && !is_form_) integer(std::bit_cast<std::int64_t>(real));
      if (op == loop::Op::variable) variable(name);
      if (op == loop::Op::size) dim(size);
      if (op == loop::Op::load) buffer(loaded);
    }
    number(numbers_.at(root.get()));
  }

  void block(const loop::Block& statements) {
    number(statements.size());
    for (const loop::Stmt& s : statements) {
      number(s.index());
      std::visit([&](const auto& statement) { write(statement); }, s);
    }
  }
  void write(const loop::Let& s) {
    const auto& [value, life] = s;
    expression(value);
    tag(life);
  }
  void write(const loop::Barrier& s) {
    const auto& [under_way, of_grid] = s;
    number(static_cast<std::uint64_t>(under_way));
    number(static_cast<std::uint64_t>(of_grid));
  }
  void write(const loop::Copy& s) {
    const auto& [to, to_index, from, from_index, available, count, aligned] = s;
    buffer(to);
    expression(to_index);
    buffer(from);
    expression(from_index);
    expression(available);
    number(static_cast<std::uint64_t>(count));
    expression(aligned);
  }
  void write(const loop::Multiply& s) {
    const auto& [sums, a, b, a_start, b_start, tile] = s;
    for (const loop::BufferRef& one : {sums, a, b}) buffer(one);
    expression(a_start);
    expression(b_start);
    const auto& [rows, columns, depth, warp_rows, warp_columns, a_runs_inner, b_runs_inner] = tile;
    for (const int size : {rows, columns, depth, warp_rows, warp_columns}) {
      number(static_cast<std::uint64_t>(size));
    }
    number(a_runs_inner ? 1 : 0);
    number(b_runs_inner ? 1 : 0);
  }
  void write(const loop::Declare& s) {
    const auto& [declared, init] = s;
    variable(declared);
    expression(init);
  }
  void write(const loop::Allocate& s) {
    const auto& [allocated] = s;
    buffer(allocated);
  }
  void write(const loop::Store& s) {
    const auto& [to, index, value] = s;
    buffer(to);
    expression(index);
    expression(value);
  }
  void write(const loop::Accumulate& s) {
    const auto& [into, op, value] = s;
    variable(into);
    tag(op);
    expression(value);
  }
  void write(const loop::AccumulateArg& s) {
    const auto& [best, position, maximum, value, at] = s;
    variable(best);
    variable(position);
    number(maximum ? 1 : 0);
    expression(value);
    expression(at);
  }
  void write(const std::shared_ptr<const loop::For>& s) {
    const auto& [index, extent, kind, width, interleave, unrolled, body, is_independent] = *s;
    variable(index);
    expression(extent);
    tag(kind);
    integer(width);
    integer(interleave);
    number(is_independent ? 1 : 0);
    integer(unrolled);
    block(body);
  }
  void write(const std::shared_ptr<const loop::If>& s) {
    const auto& [condition, then_body, else_body] = *s;
    expression(condition);
    block(then_body);
    block(else_body);
  }

  void steps(const std::vector<Step>& list) {
    number(list.size());
    for (const Step& step : list) {
      // Choices are made on devices, whose code this is not.
      const auto& [kind, choice, candidate] = step;
      number(kind.index());
      std::visit([&](const auto& what) { write(what); }, kind);
    }
  }
  void write(const loop::Kernel& kernel) {
    // What a device's library may do instead is not in the code.
    const auto& [name, inputs, outputs, scratch, body, work, source, form, instead] = kernel;
    text(name);
    for (const auto* list : {&inputs, &outputs, &scratch}) {
      number(list->size());
      for (const loop::BufferRef& b : *list) buffer(b);
    }
    block(body);
    expression(work);
  }
  void write(const std::shared_ptr<const Scan>& loop) {
    const auto& [index, extent, body, name, source, idle, to_the_end, idle_steps, form] = *loop;
    variable(index);
    dim(extent);
    steps(body);
    text(name);
    number(idle ? (to_the_end ? 2 : 1) : 0);
    if (!idle) return;
    buffer(idle);
    steps(idle_steps);
  }
  void write(const std::shared_ptr<const Branch>& branch) {
    const auto& [condition, then_steps, else_steps, source] = *branch;
    buffer(condition);
    steps(then_steps);
    steps(else_steps);
  }
  void write(const std::shared_ptr<const Call>& call) {
    const auto& [callee, message, inputs, outputs, site, source] = *call;
    text(callee ? callee->options.name : "");  // where it is decides whoever links the object
    text(message);
    for (const auto* list : {&inputs, &outputs}) {
      number(list->size());
      for (const auto& [value, type] : *list) {
        buffer(value);
        tag(type.dtype);
        number(type.shape.size());
        for (const Dim& d : type.shape) dim(d);
      }
    }
    integer(site);
  }

  const Program& program_;
  // Of one kernel, whose buffers may lie anywhere, and whose floating constants may be any.
  bool is_form_ = false;
  bool is_open_ = false;                     // and whose whole numbers may be any
  std::vector<loop::BufferRef> parameters_;  // of that kernel
  std::vector<loop::Expr> reals_;            // its floating constants
  Sha256 hash_;
  std::string bytes_;                                    // not hashed yet
  static constexpr std::size_t longest_operation = 256;  // bytes; longer ones by their digest
  std::unordered_map<std::uint64_t, std::size_t> atoms_;
  std::unordered_map<const DimAtom*, std::string> operations_;  // that have been written
  std::unordered_map<int, std::size_t> buffers_, variables_;
  std::unordered_map<const loop::ExprNode*, std::size_t> numbers_;
  std::unordered_set<const loop::ExprNode*> written_;
};

}  // namespace

KernelForm form_of(const Program& program, const loop::Kernel& kernel) {
  return KeyWriter(program).form(kernel);
}

KernelForm open_form_of(const Program& program, const OpenKernel& open) {
  return KeyWriter(program).form(open);
}

Digest cache_key(const Program& program, const std::vector<std::string>& target) {
  return KeyWriter(program).run(target);
}

}  // namespace kroton
