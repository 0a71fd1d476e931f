// results.sqlite: what is written comes back, versions are checked, and a killed process leaves nothing half-finished.
#include "ockham/study/store.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>

#include "ockham/core/progress.h"
#include "ockham/study/database.h"
#include "tests/study/scripted_fixture.h"

namespace ockham {
namespace {

ItemResult item(const std::string& id, double score) {
  ItemResult result;
  result.id = id;
  result.prompt_sha = "sha-" + id;
  result.prompt = "prompt " + id;
  result.answer = "an answer with \"quotes\" and ü";
  result.score = score;
  result.is_refusal = score < 0.5;
  result.extra = Json{{"group", "a"}, {"value", 0.25}};
  return result;
}

StudyDescription small_study() {
  StudyDescription study;
  study.title = "t";
  study.text = "models: []";
  study.baseline = "dense";
  study.tier = "quick";
  study.margin = 5;
  study.models = {{"m", {"dense"}}};
  study.seeds["dense"] = {0};
  study.tasks = {"perplexity:x.txt"};
  return study;
}

TEST(ResultsStore, GivesBackWhatWasWritten) {
  const Scratch scratch;
  {
    ResultsStore store(scratch.path());
    store.set_study(small_study());
    const int64_t run = store.add_run({"0.1.0", "machine", "2026-01-31T12:00:00Z"});
    const int64_t model = store.add_model({"m", "/m", "abc", 12, 34});
    const int64_t recipe = store.add_recipe({"dense", "dense", "def"});
    store.add_task({"perplexity:x.txt", "", "ghi", "", {}}, "quick");
    const int64_t cell = store.begin_cell(run, model, recipe, 0, "perplexity:x.txt");
    store.add_items(cell, {item("b", 1), item("a", std::nan(""))});
    store.set_task_data("perplexity:x.txt", "data", {"a note"}, true);
    EXPECT_FALSE(store.is_done(model, recipe, 0, "perplexity:x.txt"));
    store.finish_cell(cell, {{"perplexity", 6.5, 6.1, 6.9, 2, "ppl", true, false}}, 1.5, 1000);
    EXPECT_TRUE(store.is_done(model, recipe, 0, "perplexity:x.txt"));
    EXPECT_FALSE(store.is_done(model, recipe, 1, "perplexity:x.txt"));
  }
  const StudyResults results = read_results(scratch.path());
  ASSERT_EQ(results.cells.size(), 1u);
  const StoredCell& cell = results.cells[0];
  EXPECT_EQ(cell.model + "/" + cell.recipe + "/" + cell.task, "m/dense/perplexity:x.txt");
  EXPECT_EQ(cell.seconds, 1.5);
  EXPECT_EQ(cell.peak_bytes, 1000);
  ASSERT_EQ(cell.items.size(), 2u);
  EXPECT_EQ(cell.items[0].id, "a");
  EXPECT_TRUE(std::isnan(cell.items[0].score));
  EXPECT_EQ(cell.items[1].answer, "an answer with \"quotes\" and ü");
  EXPECT_EQ(cell.items[1].prompt, "prompt b");
  EXPECT_EQ(cell.items[1].extra, (Json{{"group", "a"}, {"value", 0.25}}));
  ASSERT_NE(cell.metric("perplexity"), nullptr);
  EXPECT_EQ(cell.metric("perplexity")->low, 6.1);
  EXPECT_FALSE(cell.metric("perplexity")->higher_is_better);
  ASSERT_EQ(results.stored_tasks.size(), 1u);
  EXPECT_EQ(results.stored_tasks[0].data_sha256, "data");
  EXPECT_EQ(results.stored_tasks[0].notes, std::vector<std::string>{"a note"});
  EXPECT_EQ(results.study.margin, 5);
  EXPECT_EQ(results.models[0].parameters, 34);
}

TEST(ResultsStore, UnfinishedCellIsTakenUpAgain) {
  const Scratch scratch;
  ResultsStore store(scratch.path());
  store.set_study(small_study());
  const int64_t run = store.add_run({}), model = store.add_model({"m", "", "a", 0, 0}),
                recipe = store.add_recipe({"dense", "dense", "d"});
  store.add_task({"perplexity:x.txt", "", "g", "", {}}, "quick");
  store.add_items(store.begin_cell(run, model, recipe, 0, "perplexity:x.txt"), {item("a", 1), item("b", 1)});
  const int64_t again = store.begin_cell(run, model, recipe, 0, "perplexity:x.txt");
  EXPECT_TRUE(store.resume_cell(again, "another evaluation").empty());
  store.add_items(again, {item("a", 0)});
  store.finish_cell(again, {}, 1, 1);
  const StudyResults results = read_results(scratch.path());
  ASSERT_EQ(results.cells.size(), 1u);
  ASSERT_EQ(results.cells[0].items.size(), 1u);
  EXPECT_EQ(results.cells[0].items[0].score, 0);
  // A finished cell cannot be begun a second time, nor an item stored twice.
  EXPECT_THROW(store.begin_cell(run, model, recipe, 0, "perplexity:x.txt"), Error);
  EXPECT_THROW(store.add_items(again, {item("a", 0)}), Error);
}

TEST(ResultsStore, ChangedRecipeSupersedesItsCells) {
  const Scratch scratch;
  ResultsStore store(scratch.path());
  store.set_study(small_study());
  const int64_t run = store.add_run({}), model = store.add_model({"m", "", "a", 0, 0});
  store.add_task({"perplexity:x.txt", "", "g", "", {}}, "quick");
  const auto finish = [&](int64_t recipe) {
    store.finish_cell(store.begin_cell(run, model, recipe, 0, "perplexity:x.txt"), {}, 1, 1);
  };
  const int64_t first = store.add_recipe({"dense", "dense", "one"});
  finish(first);
  const int64_t second = store.add_recipe({"dense", "other", "two"});
  EXPECT_NE(first, second);
  EXPECT_EQ(store.superseded(), 1);
  EXPECT_FALSE(store.is_done(model, second, 0, "perplexity:x.txt"));
  finish(second);
  EXPECT_EQ(read_results(scratch.path()).recipes[0].text, "other");
  // Back to the first: measured again, and shown instead of the second.
  EXPECT_EQ(store.add_recipe({"dense", "dense", "one"}), first);
  EXPECT_FALSE(store.is_done(model, first, 0, "perplexity:x.txt"));
  finish(first);
  const StudyResults results = read_results(scratch.path());
  EXPECT_EQ(results.cells.size(), 1u);
  EXPECT_EQ(results.superseded_cells, 2);
  EXPECT_EQ(results.recipes[0].text, "dense");
}

TEST(ResultsStore, TierAndTaskFileDecideWhatIsFinished) {
  const Scratch scratch;
  ResultsStore store(scratch.path());
  const int64_t run = store.add_run({}), model = store.add_model({"m", "", "a", 0, 0}),
                recipe = store.add_recipe({"dense", "dense", "d"});
  store.add_task({"t", "text", "one", "", {}}, "quick");
  store.finish_cell(store.begin_cell(run, model, recipe, 0, "t"), {}, 1, 1);
  store.add_task({"t", "text", "one", "", {}}, "quick");
  EXPECT_TRUE(store.is_done(model, recipe, 0, "t"));
  store.add_task({"t", "text", "one", "", {}}, "full");
  EXPECT_FALSE(store.is_done(model, recipe, 0, "t"));
}

TEST(ResultsStore, RefusesOtherVersionsAndOtherFiles) {
  const Scratch scratch;
  { ResultsStore store(scratch.path()); }
  { Database(scratch.file("results.sqlite"), Database::Mode::kWrite).execute("PRAGMA user_version=2000"); }
  EXPECT_TRUE(has(error_text([&] { ResultsStore store(scratch.path()); }, ErrorKind::kUnsupported),
                  {"results.sqlite", "2.0", "1.x"}));
  EXPECT_TRUE(
      has(error_text([&] { read_results(scratch.path()); }, ErrorKind::kUnsupported), {"results.sqlite", "2.0"}));

  const Scratch other;
  other.put("results.sqlite", std::string(4096, 'x'));
  EXPECT_TRUE(has(error_text([&] { read_results(other.path()); }), {"results.sqlite", "not a results database"}));
  const Scratch foreign;
  { Database(foreign.file("results.sqlite"), Database::Mode::kWrite).execute("CREATE TABLE a(b)"); }
  EXPECT_TRUE(has(error_text([&] { ResultsStore store(foreign.path()); }), {"not a results database of Ockham"}));
  const Scratch empty;
  EXPECT_TRUE(has(error_text([&] { read_results(empty.path()); }), {"results.sqlite", "no such file"}));
}

TEST(ResultsStore, OneWriterPerDirectory) {
  const Scratch scratch;
  const ResultsStore store(scratch.path());
  EXPECT_TRUE(has(error_text([&] { ResultsStore second(scratch.path()); }, ErrorKind::kResource), {"another study"}));
}

TEST(ResultsStore, UnusableDirectoryIsNamed) {
  const Scratch scratch;
  const std::string file = scratch.put("plain", "text");
  EXPECT_TRUE(has(error_text([&] { ResultsStore store(file); }, ErrorKind::kResource), {"plain"}));
}

// Runs the study in a child that is killed after `delay_us`; true when it had finished before.
bool run_and_kill(const Scratch& scratch, const std::string& directory, useconds_t delay_us) {
  const pid_t child = fork();
  if (child == 0) {
    try {
      ScriptedBackend backend;
      backend.pause_us = 1500;
      const StudyOptions options = options_in(scratch, directory);
      run_study(read_study(scratch.file("study.yaml"), options, backend), options, backend);
    } catch (const std::exception&) {
      _exit(3);
    }
    _exit(0);
  }
  usleep(delay_us);
  kill(child, SIGKILL);
  int status = 0;
  waitpid(child, &status, 0);
  if (WIFEXITED(status)) {
    EXPECT_EQ(WEXITSTATUS(status), 0);
  }
  return WIFEXITED(status);
}

TEST(StudyCrash, AStoppedTaskGoesOnWithTheItemsItHas) {
  const Scratch scratch;
  make_home(scratch);
  const auto run = [&](const std::string& directory, int64_t interrupt_after) {
    ScriptedBackend backend;
    backend.interrupt_after = interrupt_after;
    const StudyOptions options = options_in(scratch, directory);
    try {
      run_study(read_study(scratch.file("study.yaml"), options, backend), options, backend);
      EXPECT_EQ(interrupt_after, 0);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInterrupted);
      clear_interrupt();
    }
    return backend.batches;
  };
  const int64_t all = run("whole", 0);
  // Four batches to a task: stopped behind the second one of the fourth task.
  const int64_t before = run("stopped", 14), after = run("stopped", 0);
  EXPECT_EQ(before, 14);
  EXPECT_EQ(before + after, all);
  EXPECT_EQ(contents(scratch.file("stopped")), contents(scratch.file("whole")));
}

TEST(ResultsStore, ItemsOfAnotherFingerprintAreNotTakenUp) {
  const Scratch scratch;
  ResultsStore store(scratch.path());
  const int64_t run = store.add_run({"1", "m", "t"}), model = store.add_model({"m", "p", "s", 1, 1}),
                recipe = store.add_recipe({"r", "t", "s"});
  const int64_t cell = store.begin_cell(run, model, recipe, 0, "task");
  EXPECT_TRUE(store.resume_cell(cell, "first").empty());
  ItemResult item;
  item.id = "a";
  item.prompt = "asked";
  item.prompt_sha = "sha";
  item.answer = "said";
  item.score = 0.1;
  item.is_refusal = true;
  item.extra = {{"value", 0.3}};
  store.add_items(cell, {item});
  EXPECT_EQ(store.begin_cell(run, model, recipe, 0, "task"), cell);
  const std::vector<ItemResult> kept = store.resume_cell(cell, "first");
  ASSERT_EQ(kept.size(), 1u);
  EXPECT_EQ(kept[0].prompt, "asked");
  EXPECT_EQ(kept[0].answer, "said");
  EXPECT_EQ(kept[0].score, 0.1);
  EXPECT_TRUE(kept[0].is_refusal);
  EXPECT_EQ(kept[0].extra, item.extra);
  EXPECT_TRUE(store.resume_cell(cell, "second").empty());
  EXPECT_TRUE(store.resume_cell(cell, "first").empty());
}

TEST(StudyCrash, KilledAtAnyMomentResumesToTheSameResults) {
  const Scratch scratch;
  make_home(scratch);
  const StudyOptions whole = options_in(scratch, "whole");
  ScriptedBackend backend;
  run_study(read_study(scratch.file("study.yaml"), whole, backend), whole, backend);
  const std::string expected = contents(whole.directory);
  EXPECT_GT(expected.size(), 10000u);

  bool is_finished = false;
  int kills = 0;
  for (useconds_t delay = 7000; !is_finished && kills < 60; delay += 4100, ++kills) {
    is_finished = run_and_kill(scratch, "killed", delay);
    if (!std::filesystem::exists(scratch.file("killed/results.sqlite"))) continue;
    Database database(scratch.file("killed/results.sqlite"), Database::Mode::kWrite);
    // A finished cell has all its items and its metrics, whenever the kill came; no tables means killed before the
    // first.
    if (database.integer("SELECT count(*) FROM sqlite_master") > 0) {
      EXPECT_EQ(database.integer("SELECT count(*) FROM (SELECT cell,id FROM item GROUP BY cell,id HAVING count(*)>1)"),
                0);
      EXPECT_EQ(database.integer("SELECT count(*) FROM cell WHERE status='done' AND task<>'compression' AND "
                                 "(SELECT count(*) FROM item WHERE item.cell=cell.id)<>100"),
                0);
      EXPECT_EQ(database.integer("SELECT count(*) FROM cell WHERE status='done' AND (SELECT count(*) FROM metric WHERE "
                                 "metric.cell=cell.id)=0"),
                0);
    }
  }
  EXPECT_TRUE(is_finished);
  EXPECT_GT(kills, 2);
  EXPECT_EQ(contents(scratch.file("killed")), expected);
  EXPECT_FALSE(std::filesystem::exists(scratch.file("killed/models")));
}

}  // namespace
}  // namespace ockham
