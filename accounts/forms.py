from django import forms
from django.contrib.auth.forms import UserCreationForm

from accounts.models import User


class ProfileForm(forms.ModelForm):
    class Meta:
        model = User
        fields = ["first_name", "last_name", "email"]


class SignUpForm(UserCreationForm):
    """A new account, made while accepting an invitation. Names that differ in case only are refused."""

    class Meta:
        model = User
        fields = ["username", "first_name", "last_name", "email"]
