"""The small vocabulary from which the questions are written."""

from __future__ import annotations

PEOPLE = ("Ann", "Bob", "Cid", "Dan", "Eve", "Fay", "Gus", "Hal", "Ida", "Jim", "Kim", "Leo")
FRUITS = ("apples", "pears", "plums", "nuts", "eggs", "books", "coins", "cards")
THINGS = ("cat", "dog", "fox", "owl", "cow", "pig", "hen", "bee", "ant", "bat", "rat", "elk")
COLOURS = ("red", "blue", "green", "white", "black", "pink")
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
MONTHS = {
    "January": 31,
    "February": 28,
    "March": 31,
    "April": 30,
    "May": 31,
    "June": 30,
    "July": 31,
    "August": 31,
    "September": 30,
    "October": 31,
    "November": 30,
    "December": 31,
}


def ordinal(n: int) -> str:
    """The place `n` in words and digits: 1st, 2nd, 3rd, 4th, 11th, 21st."""
    if n % 100 in (11, 12, 13):
        return f"{n}th"
    return f"{n}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th') }"
