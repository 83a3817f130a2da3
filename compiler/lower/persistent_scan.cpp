#include "compiler/lower/persistent_scan.h"

#include <algorithm>
#include <set>
#include <utility>

#include "compiler/loop/gpu_schedule.h"
#include "compiler/loop/index_arithmetic.h"
#include "compiler/loop/sum_blocks.h"
#include "compiler/lower/one_thread_scan.h"
#include "compiler/lower/overwrite.h"
#include "compiler/lower/rehome.h"
#include "compiler/lower/step_registers.h"
#include "compiler/lower/step_tiles.h"

namespace kroton {
namespace {

// Operations that one block does in the time that it takes to start a kernel.
constexpr std::int64_t work_of_a_launch = 1 << 16;
// Threads of a block that runs all steps, and of those where each thread has its element: small
// ones, so that some thousand elements are on all processors and wait for each other nowhere.
constexpr std::int64_t most_threads = 512;
constexpr std::int64_t threads_of_elements = 64;
// Words that a thread of these holds; eight blocks are on a processor at once.
constexpr std::int64_t words_of_an_element = 64;
// Iterations of a sum that are written out.
constexpr std::int64_t most_written_out = 32;
// Operations of a step, for each kernel that it would start and each of the blocks that wait for
// each other, up to which these are done sooner: what a barrier costs less than a launch is lost by
// kernels of ours that compute products in place of a library's. The most blocks of any device.
constexpr std::int64_t work_of_a_barrier = 1 << 18;
constexpr std::int64_t most_blocks = 256;
// The shared memory of these blocks.
constexpr std::int64_t most_shared = 44 << 10;

bool has_scans(const std::vector<Step>& steps) {
  return std::any_of(steps.begin(), steps.end(), [](const Step& step) {
    bool found = as<Scan>(step) != nullptr;
    for_each_inner(step, [&](const auto& inner) { found = found || has_scans(inner); });
    return found;
  });
}

// Scalar operations of the steps, as far as their number is arithmetic of sizes.
std::optional<Dim> work_of(const std::vector<Step>& steps) {
  Dim work = 0;
  for (const Step& step : steps) {
    Dim inner = 0;
    bool known = true;
    if (const auto* kernel = as<loop::Kernel>(step)) {
      const std::optional<Dim> own = loop::as_dim(kernel->work);
      known = own.has_value();
      if (own) inner = *own;
    }
    for_each_inner(step, [&](const auto& list) {
      const std::optional<Dim> own = work_of(list);
      known = known && own.has_value();
      if (own) inner = inner + *own;
    });
    if (!known) return std::nullopt;
    const Scan* scan = as<Scan>(step);
    work = work + (scan != nullptr ? scan->extent * inner : inner);
  }
  return work;
}

bool is_multiple(const loop::Expr& e, const Dim& of) {
  if (of.is_constant(0) || of.is_constant(1)) return true;
  const std::optional<Dim> value = loop::as_dim(e);
  if (value) return floor_div(*value, of) * of == *value;
  if (e->op == loop::Op::add || e->op == loop::Op::sub) {
    return is_multiple(e->args[0], of) && is_multiple(e->args[1], of);
  }
  return e->op == loop::Op::mul && (is_multiple(e->args[0], of) || is_multiple(e->args[1], of));
}

// How the kernels of steps share the blocks that run all of them.
struct CommonBlocks {
  int threads = loop::threads_that_wait;  // of each
  Dim most = 1;                           // that a kernel has
  Dim tiles = 1;                          // the same, of kernels that hold tiles in registers
  std::string why_not;
};

// The loop over a kernel's blocks; before it is only what a block keeps.
const loop::For* blocks_of(const loop::Kernel& kernel) {
  if (kernel.body.empty()) return nullptr;
  const bool are_kept =
      std::all_of(kernel.body.begin(), kernel.body.end() - 1,
                  [](const loop::Stmt& s) { return std::holds_alternative<loop::Allocate>(s); });
  return are_kept ? loop::as_for(kernel.body.back()) : nullptr;
}

// Threads that a kernel needs: those of its blocks at least, where they hold what is theirs from
// one loop to the next, or exactly, where they multiply together.
CommonBlocks common_blocks(const std::vector<Step>& steps) {
  CommonBlocks common;
  int exactly = 0;
  std::int64_t shared = 0;
  for_each_kernel(steps, [&](const loop::Kernel& kernel) {
    const loop::For* blocks = blocks_of(kernel);
    const std::optional<Dim> count =
        blocks != nullptr ? loop::as_dim(blocks->extent) : std::optional<Dim>();
    if (!count) {
      common.why_not = "how many blocks a step has is not known before it runs";
      return;
    }
    common.most = maximum(common.most, *count);
    bool holds = false, multiplies = false;
    loop::visit_statements(kernel.body, [&](const loop::Stmt& s) {
      multiplies = multiplies || std::holds_alternative<loop::Multiply>(s);
      const auto* array = std::get_if<loop::Allocate>(&s);
      if (array == nullptr) return;
      holds = holds || array->buffer->space == loop::Space::registers;
      if (array->buffer->space == loop::Space::awaited) {
        common.why_not = "blocks of a step wait for those before them";
      }
      if (array->buffer->space != loop::Space::shared) return;
      shared +=
          array->buffer->size.constant() * static_cast<std::int64_t>(size_of(array->buffer->dtype));
    });
    if (multiplies && exactly > 0 && exactly != blocks->width) {
      common.why_not = "products of a step want blocks of different sizes";
    }
    if (multiplies) exactly = blocks->width;
    if (!holds) return;
    common.threads = std::max(common.threads, blocks->width);
    common.tiles = maximum(common.tiles, *count);
  });
  if (exactly > 0 && common.threads > exactly) {
    common.why_not = "products of a step want smaller blocks than what else it computes";
  }
  if (exactly > 0) common.threads = exactly;
  if (shared > most_shared) common.why_not = "the kernels of a step work in too much shared memory";
  return common;
}

// The innermost loops of few iterations written out, so that what all of them load is under way at
// the same time.
loop::Block with_short_loops_written_out(const loop::Block& block) {
  loop::Block result;
  for (const loop::Stmt& s : block) {
    const loop::For* found = loop::as_for(s);
    std::int64_t extent = 0;
    const bool is_short =
        found != nullptr && found->kind == loop::LoopKind::serial &&
        loop::is_integer_constant(found->extent, extent) && extent <= most_written_out &&
        found->body.size() <= 2 &&
        std::all_of(found->body.begin(), found->body.end(), [](const loop::Stmt& inner) {
          return std::holds_alternative<loop::Accumulate>(inner);
        });
    if (!is_short) {
      result.push_back(loop::with_inner(s, with_short_loops_written_out));
      continue;
    }
    loop::For loop = *found;
    loop.kind = loop::LoopKind::unroll;
    result.push_back(loop::statement(std::move(loop)));
  }
  return result;
}

class Builder {
 public:
  Builder(const Scan& scan, const Program& program, BufferTable& buffers, Homes homes = {},
          loop::ApartMemory apart = {})
      : scan_(scan),
        program_(program),
        buffers_(buffers),
        homes_(std::move(homes)),
        apart_(std::move(apart)) {}

  // False if the host has to say where some buffer lies.
  bool find_homes() {
    scan_variables_.insert(scan_.variable.id);
    return find_homes(scan_.steps) && find_homes(scan_.idle_steps) &&
           (scan_.idle == nullptr || find_home(scan_.idle));
  }

  // Every thread runs all steps for one element.
  std::optional<loop::Kernel> by_elements() {
    const std::optional<Dim> count = elements();
    if (!count || !keep_to_elements(*count)) return std::nullopt;
    const loop::Variable block = loop::fresh_variable("block"), t = loop::fresh_variable("t");
    const bool is_one = count->is_constant() && count->constant() <= threads_of_elements;
    const loop::Expr width = loop::integer(threads_of_elements);
    const loop::Expr first = is_one ? loop::integer(0) : loop::variable(block) * width;
    const loop::Expr element = first + loop::variable(t);
    StepRegisters::Share share;
    share.element = element;
    share.most_words = words_of_an_element;
    share.may_hold = [&](const loop::BufferRef& buffer) { return is_own(buffer, *count); };
    StepRegisters registers(scan_, uses_, program_, buffers_, std::move(share), homes_);
    loop::Block own = registers.all_steps([&] {
      loop::Block each;
      for (const Step& step : scan_.steps) {
        const loop::Kernel& kernel = *as<loop::Kernel>(step);
        const loop::For& nest = *loop::as_for(kernel.body[0]);
        const Rehoming rehomed(homes_);
        const loop::Block body = rehomed.block(nest.body);
        for (loop::Stmt& s : loop::substitute(body, {{rehomed.renamed(nest.variable), element}})) {
          each.push_back(std::move(s));
        }
      }
      return each;
    });
    loop::For threads;
    threads.kind = loop::LoopKind::thread;
    threads.variable = t;
    threads.extent = is_one ? loop::size(*count)
                            : loop::binary(loop::Op::min, loop::size(*count) - first, width);
    threads.body = std::move(own);
    const std::int64_t few = is_one ? std::max<std::int64_t>(count->constant(), 1) : 0;
    const auto warps = (few + Machine::warp - 1) / Machine::warp * Machine::warp;
    loop::Kernel kernel = in_blocks(
        block, is_one ? loop::integer(1) : loop::size(ceil_div(*count, threads_of_elements)),
        static_cast<int>(is_one ? warps : threads_of_elements), {loop::statement(threads)});
    kernel.form = "every thread runs all steps for an element";
    return kernel;
  }

  // One thread runs all steps, if they are so little.
  std::optional<loop::Kernel> in_one_thread() {
    std::optional<loop::Block> body = steps_in_one_thread(scan_, uses_, program_, buffers_, homes_);
    if (!body) return std::nullopt;
    loop::For thread;
    thread.kind = loop::LoopKind::thread;
    thread.variable = loop::fresh_variable("t");
    thread.extent = loop::integer(1);
    thread.body = std::move(*body);
    loop::Kernel kernel = in_blocks(loop::fresh_variable("block"), loop::integer(1), Machine::warp,
                                    {loop::statement(std::move(thread))});
    kernel.form = "one thread runs all steps";
    return kernel;
  }

  loop::Kernel in_one_block(const Dim& is_wanted) {
    loop::Block body = with_short_loops_written_out({loop_of(scan_)});
    std::int64_t threads = Machine::warp;
    loop::visit_statements(body, [&](const loop::Stmt& s) {
      const loop::For* loop = loop::as_for(s);
      if (loop == nullptr || loop->kind != loop::LoopKind::thread) return;
      std::int64_t count = most_threads;
      loop::is_integer_constant(loop->extent, count);
      threads = std::max(threads, count);
    });
    const std::int64_t warps = (threads + Machine::warp - 1) / Machine::warp;
    loop::Kernel kernel =
        in_blocks(loop::fresh_variable("block"), loop::size(is_wanted),
                  static_cast<int>(std::min(most_threads, warps * Machine::warp)), std::move(body));
    kernel.form = "one block runs all steps";
    return kernel;
  }

  // The kernels' blocks are dealt out to blocks that wait for each other.
  loop::Kernel in_waiting_blocks(const Dim& is_wanted, const CommonBlocks& common) {
    barrier_ = loop::Barrier{0, true};
    const Dim blocks = is_wanted * minimum(common.most, worker_count());
    const loop::Stmt steps = loop_of(scan_);
    loop::Block body = kept_;
    body.push_back(steps);
    loop::Kernel kernel = in_blocks(block_, loop::size(blocks), common.threads, std::move(body));
    kernel.form = "blocks that wait for each other run all steps";
    return kernel;
  }

 private:
  bool find_homes(const std::vector<Step>& steps) {
    bool all = true;
    for (const Step& step : steps) {
      if (const Scan* inner = as<Scan>(step)) scan_variables_.insert(inner->variable.id);
      for_each_buffer(step, [&](const loop::BufferRef& b) { all = all && find_home(b); });
      for_each_inner(step, [&](const auto& inner) { all = all && find_homes(inner); });
      const auto* kernel = as<loop::Kernel>(step);
      for (const loop::BufferRef& b : kernel ? kernel->inputs : none_) note(b).read = true;
      for (const loop::BufferRef& b : kernel ? kernel->outputs : none_) note(b).written = true;
    }
    return all;
  }

  StepUse& note(const loop::BufferRef& buffer) {
    StepUse& found = uses_[buffer->id];
    found.buffer = buffer;
    return found;
  }

  // A scan's variable is that of its loop.
  bool find_home(const loop::BufferRef& buffer) {
    if (homes_.contains(buffer->id)) return true;
    const auto placed = program_.placements.find(buffer->id);
    if (placed == program_.placements.end() || placed->second.kind != Placement::Kind::part) {
      homes_[buffer->id] = {buffer, loop::integer(0)};
      return true;
    }
    const loop::Expr& start = placed->second.start;
    const std::vector<loop::Expr> nodes = loop::post_order(std::span(&start, 1));
    homes_[buffer->id] = {placed->second.of, start};
    return std::all_of(nodes.begin(), nodes.end(), [&](const loop::Expr& e) {
      return e->op != loop::Op::variable || scan_variables_.contains(e->variable.id);
    });
  }

  loop::Kernel in_blocks(const loop::Variable& block, const loop::Expr& extent, int threads,
                         loop::Block body) const {
    loop::For blocks;
    blocks.kind = loop::LoopKind::block;
    blocks.variable = block;
    blocks.extent = extent;
    blocks.width = threads;
    blocks.body = std::move(body);
    loop::Kernel kernel;
    kernel.body = {loop::statement(std::move(blocks))};
    std::set<std::string> lines;
    describe(scan_.steps, kernel, lines);
    kernel.name = "_scan" + kernel.name;
    kernel.source = scan_.source;
    lines.erase(scan_.source);
    for (const std::string& line : lines) kernel.source += " " + line;
    kernel.work = loop::size(scan_.extent * *work_of(scan_.steps));
    if (!barrier_.of_grid) kernel = loop::sum_in_blocks(kernel);
    collect_buffers(kernel);
    return kernel;
  }

  static void describe(const std::vector<Step>& steps, loop::Kernel& whole,
                       std::set<std::string>& lines) {
    for (const Step& step : steps) {
      if (const auto* kernel = as<loop::Kernel>(step)) {
        if (whole.name.size() < 40) whole.name += kernel->name;
        lines.insert(kernel->source);
      }
      for_each_inner(step, [&](const auto& inner) { describe(inner, whole, lines); });
    }
  }

  // ---- One block.

  // `counter`: of the loop whose body they are.
  loop::Block statements_of(const std::vector<Step>& steps,
                            const loop::Variable* counter = nullptr) {
    loop::Block block;
    for (const Step& step : steps) {
      visit(
          step,
          [&](const loop::Kernel& kernel) {
            if (barrier_.of_grid) {
              block.push_back(dealt_out(kernel));
              return;
            }
            for (loop::Stmt& s : Rehoming(homes_).block(kernel.body)) block.push_back(std::move(s));
          },
          [&](const Scan& inner) { block.push_back(loop_of(inner)); },
          [&](const Branch& branch) {
            loop::If sides;
            sides.condition =
                Rehoming(homes_).expression(loop::load(branch.condition, loop::integer(0)));
            sides.then_body = statements_of(branch.then_steps);
            sides.else_body = statements_of(branch.else_steps);
            block.push_back(loop::statement(std::move(sides)));
          },
          [](const Call&) {});
    }
    return loop::with_barriers_of_steps(loop::with_joined_loops(block), barrier_, counter, apart_);
  }

  // The blocks of a kernel, each in one of those that there are.
  loop::Stmt dealt_out(const loop::Kernel& kernel) {
    const loop::For& nest = *blocks_of(kernel);
    const Dim count = *loop::as_dim(nest.extent);
    const Rehoming rehomed(homes_);
    loop::For rounds;
    rounds.variable = loop::fresh_variable("round");
    rounds.extent = loop::size(ceil_div(count, worker_count()));
    const loop::Variable number = rehomed.renamed(nest.variable);
    loop::If there;
    there.condition = loop::binary(loop::Op::lt, loop::variable(number), loop::size(count));
    there.then_body = rehomed.block(nest.body);
    // What the block keeps is brought in the first step.
    kept_.insert(kept_.end(), kernel.body.begin(), kernel.body.end() - 1);
    for (loop::Stmt& s : there.then_body) {
      const loop::If* branch = loop::as_if(s);
      if (branch == nullptr || branch->condition->op != loop::Op::variable) continue;
      const loop::Expr is_first =
          loop::binary(loop::Op::eq, loop::variable(counter_), loop::integer(0));
      s = loop::statement(loop::If{is_first, branch->then_body, {}});
    }
    // What the block has in shared memory is read before the next one is stored there.
    bool waits = false;
    loop::visit_statements(nest.body, [&](const loop::Stmt& s) {
      const auto* array = std::get_if<loop::Allocate>(&s);
      waits = waits || (array != nullptr && array->buffer->space == loop::Space::shared);
    });
    if (waits) there.then_body.push_back(loop::Barrier{});
    rounds.body = {loop::Declare{number, loop::variable(block_) + loop::variable(rounds.variable) *
                                                                      loop::size(worker_count())},
                   loop::statement(std::move(there))};
    return loop::statement(std::move(rounds));
  }

  loop::Stmt loop_of(const Scan& scan) {
    const bool may_rest = scan.idle && scan.idle_to_the_end;
    const loop::Variable around = std::exchange(counter_, scan.variable);
    loop::Block body = statements_of(scan.steps, may_rest ? nullptr : &scan.variable);
    if (may_rest) {
      // The step that finds out that it is idle brings every state to both of its rows.
      const loop::Expr now = loop::variable(scan.variable);
      const Home& home = homes_.at(scan.idle->id);
      const loop::Expr before =
          loop::substitute(home.start, {{scan.variable, now - loop::integer(1)}});
      // All threads have read the flag before one of them stores that of the next step there.
      const loop::Variable rests = loop::fresh_variable("rests", DType::boolean);
      loop::If sides;
      sides.condition = loop::variable(rests);
      sides.then_body = statements_of(scan.idle_steps);
      sides.else_body = std::move(body);
      body = {loop::Declare{rests, loop::load(home.buffer, before,
                                              loop::binary(loop::Op::le, loop::integer(1), now))},
              barrier_, loop::statement(std::move(sides)), barrier_};
    }
    counter_ = around;
    loop::For loop;
    loop.variable = scan.variable;
    loop.extent = loop::size(scan.extent);
    loop.body = std::move(body);
    return loop::statement(std::move(loop));
  }

  // ---- A thread for each element.

  // How many elements every kernel of a step has, each one's in one thread.
  std::optional<Dim> elements() const {
    std::optional<Dim> count;
    if (scan_.idle) return std::nullopt;
    for (const Step& step : scan_.steps) {
      const auto* kernel = as<loop::Kernel>(step);
      if (kernel == nullptr || kernel->body.size() != 1) return std::nullopt;
      const loop::For* loop = loop::as_for(kernel->body[0]);
      if (loop == nullptr || loop->kind != loop::LoopKind::thread) return std::nullopt;
      const std::optional<Dim> own = loop::as_dim(loop->extent);
      if (!own || (count && *own != *count)) return std::nullopt;
      count = own;
    }
    return count;
  }

  // Whether the element of what is written is the thread's own, in every row.
  bool keep_to_elements(const Dim& count) const {
    std::set<int> written;  // whole buffers
    for (const auto& [id, use] : uses_) {
      if (use.written) written.insert(homes_.at(id).buffer->id);
    }
    for (const auto& [id, use] : uses_) {
      const Home& home = homes_.at(id);
      if (!written.contains(home.buffer->id)) continue;
      if (use.buffer->size != count || !is_multiple(home.start, count)) return false;
    }
    return std::all_of(uses_.begin(), uses_.end(), [&](const auto& entry) {
      const auto& [id, use] = entry;
      return !written.contains(homes_.at(id).buffer->id) || is_own(use.buffer, count);
    });
  }

  // Whether a thread touches its own element of the buffer only.
  bool is_own(const loop::BufferRef& own, const Dim& count) const {
    if (own->size != count) return false;
    bool all = true;
    for (const Step& step : scan_.steps) {
      const loop::For& nest = *loop::as_for(as<loop::Kernel>(step)->body[0]);
      const auto check = [&](const loop::BufferRef& buffer, const loop::Expr& index) {
        if (buffer->id != own->id) return;
        std::int64_t at = -1;
        const bool is_first = loop::is_integer_constant(index, at) && at == 0;
        all = all && (index == loop::variable(nest.variable) || (count.is_constant(1) && is_first));
      };
      std::unordered_set<const loop::ExprNode*> seen;
      std::vector<loop::Expr> nodes;
      loop::visit_expressions(
          nest.body, [&](const loop::Expr& e) { loop::append_post_order(e, seen, nodes); });
      for (const loop::Expr& e : nodes) {
        if (e->op == loop::Op::load) check(e->buffer, e->args[0]);
      }
      loop::visit_statements(nest.body, [&](const loop::Stmt& s) {
        if (const auto* store = std::get_if<loop::Store>(&s)) check(store->buffer, store->index);
      });
    }
    return all;
  }

  const Scan& scan_;
  const Program& program_;
  BufferTable& buffers_;
  const std::vector<loop::BufferRef> none_ = {};
  std::set<int> scan_variables_;
  StepUses uses_;
  Homes homes_;
  const loop::ApartMemory apart_;
  const loop::Variable block_ = loop::fresh_variable("block");
  loop::Variable counter_ = {};  // of the loop whose steps are made
  loop::Block kept_;             // allocates what blocks keep from step to step
  loop::Barrier barrier_;        // between loops of which one touches what the other has written
};

// Why the steps can be no parts of a kernel, or nothing.
std::string why_apart(const Scan& scan) {
  if (has_calls(scan.steps)) return "a step calls a function or prints";
  bool checks = false, scratch = false;
  for (const auto* steps : {&scan.steps, &scan.idle_steps}) {
    for_each_kernel(*steps, [&](const loop::Kernel& kernel) {
      checks = checks || has_checks(kernel);
      scratch = scratch || !kernel.scratch.empty();
    });
  }
  // What a failed check leaves unwritten must not be read.
  if (checks) return "a step checks what it is given";
  if (scratch) return "a step works in memory of its own";
  return work_of(scan.steps) ? "" : "the work of a step is not known";
}

PersistentScan apart(std::string why) { return {std::nullopt, 0, std::move(why)}; }

constexpr const char* part_of_others = "it is a part of a scan that starts kernels";

}  // namespace

PersistentScan persistent_scan(const Scan& scan, std::int64_t launches, const Program& program,
                               BufferTable& buffers) {
  if (std::string why = why_apart(scan); !why.empty()) return apart(std::move(why));
  const Dim work = *work_of(scan.steps);
  Builder builder(scan, program, buffers);
  if (!builder.find_homes()) return apart(part_of_others);
  if (!has_scans(scan.steps)) {
    if (std::optional<loop::Kernel> kernel = builder.by_elements()) return {kernel, 1, ""};
    if (std::optional<loop::Kernel> kernel = builder.in_one_thread()) return {kernel, 1, ""};
  }
  const std::int64_t most = work_of_a_launch * std::max<std::int64_t>(launches, 1);
  const Dim is_wanted = 1 - minimum(1, floor_div(work, most + 1));
  const std::string why_not =
      "a step of more than " + std::to_string(most) + " operations is more than a block's";
  if (is_wanted.is_constant(0)) return apart(why_not);
  return {builder.in_one_block(is_wanted), is_wanted, why_not};
}

PersistentScan waiting_scan(const Scan& lowered, std::int64_t launches, const Dim& is_wanted,
                            bool keeps, const Program& program, BufferTable& buffers) {
  if (std::string why = why_apart(lowered); !why.empty()) return apart(std::move(why));
  const StepTiles tiles =
      keeps ? with_step_tiles(lowered, program, buffers) : StepTiles{lowered, {}, {}};
  if (keeps && !tiles.found) return apart("no product of a step has an operand that stays");
  const Scan& scan = tiles.scan;
  CommonBlocks common = common_blocks(scan.steps);
  const CommonBlocks idle = common_blocks(scan.idle_steps);
  common.most = maximum(common.most, idle.most);
  if (common.why_not.empty()) common.why_not = idle.why_not;
  if (!common.why_not.empty()) return apart(common.why_not);
  Builder builder(scan, program, buffers, tiles.homes, tiles.apart);
  if (!builder.find_homes()) return apart(part_of_others);
  // Of tiles that are more than the blocks some blocks have one more.
  const Dim most = work_of_a_barrier * std::max<std::int64_t>(launches, 1) * worker_count();
  const Dim rounds = ceil_div(common.tiles, worker_count());
  const Dim work = *work_of(scan.steps);
  if (work.is_constant() &&
      work.constant() > work_of_a_barrier * std::max<std::int64_t>(launches, 1) * most_blocks) {
    return apart("a step takes longer than to start its kernels");
  }
  const Dim is_little = 1 - minimum(1, floor_div(work * rounds, most + 1));
  Dim runs = is_wanted * is_little * minimum(1, floor_div(worker_count(), 2));
  if (keeps) {
    runs =
        runs * tiles.are_wanted * minimum(1, floor_div(worker_count(), maximum(1, common.tiles)));
  }
  return {builder.in_waiting_blocks(runs, common), runs,
          "more than blocks that wait for each other are soon done with, if the device has such"};
}

}  // namespace kroton
