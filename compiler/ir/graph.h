// Graph: the unit of compilation. Vertices are nodes, edges run from operand to user and carry the
// operand's position. Passes rewrite it.
#pragma once
#include <functional>
#include <map>
#include <memory>
#include <unordered_map>

#include "compiler/ir/op.h"

namespace kroton {

struct VertexData {
  const OpRecord* op = nullptr;
  Attributes attributes;
  TensorType type;
  SourceLine line;
};

class Graph {
 public:
  struct Storage;  // an adjacency list: graph_storage.h
  using Vertex = std::size_t;

  // The graph of these expressions. Sizes that must be equal are unified first: a free size that
  // meets a constant or another size is replaced by it everywhere (so kernels see one size), and
  // every constraint is kept in `constraints` for the check at the call. ShapeError if two
  // constants must be equal and are not. `equalities` are further sizes that must be equal. Without
  // `unify` every type stays as the user's nodes have
  // it, so that export_expressions gives back the user's own leaves.
  Graph(std::span<const Tensor> parameters, std::span<const Tensor> results,
        std::span<const std::pair<Shared, Tensor>> new_values, bool unify = true,
        std::span<const SizeConstraint> equalities = {});
  Graph(Graph&&) noexcept;
  Graph& operator=(Graph&&) noexcept;
  ~Graph();

  const Storage& storage() const { return *storage_; }
  const VertexData& operator[](Vertex v) const;
  std::size_t size() const;

  std::vector<Vertex> operands(Vertex v) const;  // in order
  Vertex operand(Vertex v, int k) const;
  std::vector<Vertex> users(Vertex v) const;  // each once, without dead ones
  // How many operand positions, outputs and updates use the vertex; dead users do not count.
  int use_count(Vertex v) const;
  // Whether `replace` took the last use of the vertex away.
  bool is_dead(Vertex v) const { return dead_[v]; }
  bool is_op(Vertex v, const OpRecord& op) const { return (*this)[v].op == &op; }
  // Operands before users, in depth-first order from the outputs and updates: deterministic, and a
  // value comes shortly before its first use. Only vertices that an output or update reaches when
  // `live_only`. InternalError if there is a cycle.
  std::vector<Vertex> topological_order(bool live_only = true) const;

  // A new vertex; its type is inferred.
  Vertex add(const OpRecord& op, const std::vector<Vertex>& operands, Attributes attributes,
             SourceLine line);
  // Vertices for an expression written on stand-ins for vertices: `build` gets one tensor per
  // vertex of `operands` and returns the expression. Nodes carry `line`.
  Vertex build(const std::vector<Vertex>& operands, SourceLine line,
               const std::function<Tensor(std::span<const Tensor>)>& build);
  // Every use of `from` (outputs and updates too) becomes a use of `to`. Types must be equal, and
  // `to` must not be computed from `from`. `from`, and what only it used, is dead afterwards.
  void replace(Vertex from, Vertex to);
  // Drops the vertices that no output or update reaches. Vertex numbers change: they follow the
  // topological order. Inputs stay. Returns how many were dropped.
  std::size_t remove_dead();

  // The expression of a vertex, with inputs and shared variables as the user's own nodes (inputs
  // with a unified size are new nodes).
  std::vector<Tensor> export_expressions(std::span<const Vertex> roots) const;

  std::vector<Vertex> inputs;         // in the order of the function's parameters
  std::vector<Tensor> input_tensors;  // the user's variables, same order (original types)
  std::vector<Vertex> outputs;
  struct Update {
    std::shared_ptr<SharedState> state;
    Vertex value;
  };
  std::vector<Update> updates;
  std::vector<SizeConstraint> constraints;  // on the variables before unification
  // What each original free size became: applied to a Dim of the user's variables.
  Dim unified(const Dim& dim) const;

 private:
  // The body in unified sizes. Equal parameters stay equal: they are hash-consed.
  std::shared_ptr<const Body> unified(const std::shared_ptr<const Body>& body) const;
  using Known = std::unordered_map<const Node*, Vertex>;
  Vertex append(VertexData data, const std::vector<Vertex>& operands);
  void import(const std::vector<Tensor>& order, Known& known);
  void kill(Vertex v);
  bool is_root(Vertex v) const;

  std::unique_ptr<Storage> storage_;
  std::vector<int> uses_;   // by vertex: operand positions of vertices that are not dead
  std::vector<bool> dead_;  // by vertex
  std::map<std::uint64_t, Dim> unified_;  // by the identity of the size variable
};

// One line a vertex: "%3 = add(%1, %2) : f32 (n,)  [a.cpp:7]", attributes in braces after the
// operands, a literal as "literal(0.1)"; a first line names the inputs, last lines the outputs and
// updates.
std::string to_string(const Graph& graph);
// Throws InternalError with the graph's text unless operand counts, positions, inferred types and
// acyclicity hold.
void verify(const Graph& graph);

// A tensor that stands for a value of that type where a type rule or a builder needs one.
Tensor stand_in(const TensorType& type, SourceLine line);
// The type that the op's rule gives.
TensorType infer_type(const OpRecord& op, std::span<const Tensor> inputs,
                      const Attributes& attributes, SourceLine line);

}  // namespace kroton
