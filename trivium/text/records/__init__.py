"""What a row means: the record shapes that data sets use, told apart by their fields. A field we do not know is kept in `meta`.

    data set, or its kind              fields that tell it                            read as                              file
    chats                              messages | conversation(s)                     conversation, prompt                 turns
    Alpaca, Dolly, FLAN, GSM8K, P3,    a question and an answer, under many names     conversation, prompt                 questions
    SVAMP, NQ, TruthfulQA, BBH, MBPP
    MMLU, ARC, PIQA, BBQ and others    question, choices, gold or answerKey           conversation, prompt                 choices
    Self-Instruct tasks                instruction, instances                         conversation and prompt of each      conversation
    few-shot prompts (InstructGPT)     instruction, pairs                             conversation of each                 conversation
    KTO                                messages or prompt + completion, label         conversation, weight 0 if bad        conversation
                                                                                      labelled answer                      labels
    OpenAssistant                      prompt with replies, or rows with parent_id    conversations, preferences, prompt   trees
    DPO pairs, hh-rlhf, RM-Bench       chosen, rejected (or ..._messages)             preference, prompt                   pairs, hh
    AlpacaEval, Auto-J, JudgeBench,    two answers and a verdict                      preference, prompt                   verdicts
    LLMBar, PandaLM, SHP
    AlpacaEval of many models          baseline_output, outputs, preference           preference of each, prompt           verdicts
    persona evaluations, HHH           answer_(not_)matching_behavior, (chosen,       preference, prompt                   behaviour
                                       rejected)_instruction
    UltraFeedback, TL;DR, Magpie,      completions | summaries | responses            preference, prompt                   rankings
    GSM8K's model solutions            | {solution, is_correct} for each model
    Chatbot Arena, AlpacaEval's        model_a, model_b, winner | generator_1 ...    match                                matches
    matrix, RouteLLM's outcomes        | a column a model
    votes (`serve`, `judge`)           model_a, model_b, score, answers               match, preference, prompt            matches
    PRM800K, Math-Shepherd,            steps, labels | ratings | label                solution with judged steps           solutions
    ProcessBench, TRL's PRM data
    SQuAD, BoolQ, RACE, CoQA           a text and questions about it                      reading                              readings

What is left out: pairs of which nobody said what is better, and pairs of sentences without a prompt (BLiMP, CrowS-Pairs), which are
compared by their likelihood.
"""

from trivium.text.records.conversation import Replies, conversations
from trivium.text.records.documents import definition, document
from trivium.text.records.labels import Labelled, is_labelled, labels
from trivium.text.records.matches import matches, plain_match, versus
from trivium.text.records.preference import is_preference, preferences
from trivium.text.records.prompt import prompts
from trivium.text.records.readings import Pair, Reading, gathered, readings
from trivium.text.records.solutions import is_solution, solutions
from trivium.text.records.trees import joined, runs

__all__ = [
    "Labelled",
    "Pair",
    "Reading",
    "Replies",
    "conversations",
    "definition",
    "document",
    "gathered",
    "is_labelled",
    "is_preference",
    "is_solution",
    "joined",
    "labels",
    "matches",
    "plain_match",
    "preferences",
    "prompts",
    "readings",
    "runs",
    "solutions",
    "versus",
]
